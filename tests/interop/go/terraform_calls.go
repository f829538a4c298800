// The call sequences of Terraform's aws_cloudhsm_v2_cluster and aws_cloudhsm_v2_hsm over the Go SDK that its provider uses:
// create with waits, read, tag change, import, delete; then a cluster from a backup. Order, filters and wait states are the
// provider's, its polls only faster.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"reflect"
	"sort"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	hsm "github.com/aws/aws-sdk-go-v2/service/cloudhsmv2"
	"github.com/aws/aws-sdk-go-v2/service/cloudhsmv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	poll    = 50 * time.Millisecond
	patient = 30 * time.Second
)

var (
	ctx     = context.Background()
	subnets = []string{"subnet-0123456789abcdef0", "subnet-0123456789abcdef1"}
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("not as told: ")
	settings, err := config.LoadDefaultConfig(ctx)
	must(err)
	// This SDK is older than the variables that newer ones read by themselves.
	client := hsm.NewFromConfig(settings,
		hsm.WithEndpointResolver(hsm.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_CLOUDHSM_V2"))))
	// The provider asks who it is before anything else.
	identity, err := sts.NewFromConfig(settings,
		sts.WithEndpointResolver(sts.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_STS")))).
		GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	must(err)
	expect(aws.ToString(identity.Account) == "000000000000", "the account is %s", aws.ToString(identity.Account))

	clusterAndHsm(client)
	clusterFromBackup(client)
	fmt.Printf("Go SDK %s: Terraform's cluster and HSM: created, read, tagged, imported, deleted; a cluster from a backup\n",
		aws.SDKVersion)
}

func clusterAndHsm(client *hsm.Client) {
	made, err := client.CreateCluster(ctx, &hsm.CreateClusterInput{
		HsmType: aws.String("hsm2m.medium"), SubnetIds: subnets, TagList: tags("Name", "a", "team", "blue"),
	})
	must(err)
	id := aws.ToString(made.Cluster.ClusterId)
	waitCluster(client, id, "UNINITIALIZED", "CREATE_IN_PROGRESS", "INITIALIZE_IN_PROGRESS")
	read := readCluster(client, id)
	expect(len(read.SubnetMapping) == len(subnets), "SubnetMapping is %v", read.SubnetMapping)
	expect(read.VpcId != nil && read.SecurityGroup != nil && aws.ToString(read.HsmType) == "hsm2m.medium", "cluster is %+v", read)
	expect(read.SourceBackupId == nil, "SourceBackupId of a new cluster is %v", read.SourceBackupId)
	expect(reflect.DeepEqual(asMap(read.TagList), map[string]string{"Name": "a", "team": "blue"}), "tags are %v", read.TagList)
	changeTags(client, id)
	member(client, id, read.SubnetMapping)
	deleteCluster(client, id)
}

// aws_cloudhsm_v2_hsm with a subnet: its zone is looked up in the cluster's mapping.
func member(client *hsm.Client, cluster string, mapping map[string]string) {
	zone := ""
	for name, subnet := range mapping {
		if subnet == subnets[0] {
			zone = name
		}
	}
	made, err := client.CreateHsm(ctx, &hsm.CreateHsmInput{ClusterId: &cluster, AvailabilityZone: &zone})
	must(err)
	id := aws.ToString(made.Hsm.HsmId)
	waitHsm(client, id, "ACTIVE", "CREATE_IN_PROGRESS")
	read := findHsm(client, id)
	expect(aws.ToString(read.ClusterId) == cluster && aws.ToString(read.AvailabilityZone) == zone, "HSM is %+v", read)
	expect(aws.ToString(read.SubnetId) == subnets[0] && aws.ToString(read.EniIp) != "", "HSM is %+v", read)
	// Import knows the id or, in old states, the interface alone.
	byInterface := findHsm(client, aws.ToString(read.EniId))
	expect(byInterface != nil && aws.ToString(byInterface.HsmId) == id, "by %s is %+v", aws.ToString(read.EniId), byInterface)
	expect(readCluster(client, cluster).Certificates.ClusterCsr != nil, "a cluster with an HSM has its request")

	_, err = client.DeleteHsm(ctx, &hsm.DeleteHsmInput{ClusterId: &cluster, HsmId: &id})
	must(err)
	waitHsm(client, id, "", "DELETE_IN_PROGRESS")
}

// The provider reads the tags anew, takes away what is no longer told and puts what is new.
func changeTags(client *hsm.Client, id string) {
	expect(reflect.DeepEqual(listTags(client, id), map[string]string{"Name": "a", "team": "blue"}), "ListTags")
	_, err := client.UntagResource(ctx, &hsm.UntagResourceInput{ResourceId: &id, TagKeyList: []string{"team"}})
	must(err)
	_, err = client.TagResource(ctx, &hsm.TagResourceInput{ResourceId: &id, TagList: tags("Name", "b")})
	must(err)
	expect(reflect.DeepEqual(listTags(client, id), map[string]string{"Name": "b"}), "ListTags after the change")
	expect(reflect.DeepEqual(asMap(readCluster(client, id).TagList), map[string]string{"Name": "b"}), "TagList after the change")
}

// source_backup_identifier: the wait's target is ACTIVE.
func clusterFromBackup(client *hsm.Client) {
	ready, err := client.DescribeBackups(ctx, &hsm.DescribeBackupsInput{Filters: map[string][]string{"states": {"READY"}}})
	must(err)
	backup := ready.Backups[0].BackupId
	made, err := client.CreateCluster(ctx, &hsm.CreateClusterInput{
		HsmType: aws.String("hsm2m.medium"), SubnetIds: subnets[:1], SourceBackupId: backup,
	})
	must(err)
	id := aws.ToString(made.Cluster.ClusterId)
	waitCluster(client, id, "ACTIVE", "CREATE_IN_PROGRESS", "INITIALIZE_IN_PROGRESS")
	read := readCluster(client, id)
	expect(aws.ToString(read.SourceBackupId) == aws.ToString(backup), "SourceBackupId is %v", read.SourceBackupId)
	deleteCluster(client, id)
}

func deleteCluster(client *hsm.Client, id string) {
	_, err := client.DeleteCluster(ctx, &hsm.DeleteClusterInput{ClusterId: &id})
	must(err)
	waitCluster(client, id, "", "DELETE_IN_PROGRESS")
	_, err = client.DeleteCluster(ctx, &hsm.DeleteClusterInput{ClusterId: &id})
	var missing *types.CloudHsmResourceNotFoundException
	expect(errors.As(err, &missing), "a second DeleteCluster gave %v", err)
}

// readCluster wants exactly one; one that is DELETED is none.
func readCluster(client *hsm.Client, id string) *types.Cluster {
	pages := hsm.NewDescribeClustersPaginator(client, &hsm.DescribeClustersInput{Filters: map[string][]string{"clusterIds": {id}}})
	var found []types.Cluster
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		must(err)
		found = append(found, page.Clusters...)
	}
	expect(len(found) <= 1, "%d clusters of one id", len(found))
	if len(found) == 0 || found[0].State == types.ClusterStateDeleted {
		return nil
	}
	return &found[0]
}

// findHsm looks through all clusters, without a filter, for the HSM's id or its interface.
func findHsm(client *hsm.Client, id string) *types.Hsm {
	pages := hsm.NewDescribeClustersPaginator(client, &hsm.DescribeClustersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		must(err)
		for _, cluster := range page.Clusters {
			for i := range cluster.Hsms {
				if h := &cluster.Hsms[i]; aws.ToString(h.HsmId) == id || aws.ToString(h.EniId) == id {
					return h
				}
			}
		}
	}
	return nil
}

func waitCluster(client *hsm.Client, id, target string, pending ...string) {
	wait(id, target, pending, func() string {
		if read := readCluster(client, id); read != nil {
			return string(read.State)
		}
		return ""
	})
}

func waitHsm(client *hsm.Client, id, target string, pending ...string) {
	wait(id, target, pending, func() string {
		if read := findHsm(client, id); read != nil {
			return string(read.State)
		}
		return ""
	})
}

// wait fails on a state that is neither pending nor the target, as the provider's waits do; "" is gone.
func wait(id, target string, pending []string, state func() string) {
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(poll) {
		now := state()
		if now == target {
			return
		}
		at := sort.SearchStrings(pending, now)
		expect(at < len(pending) && pending[at] == now, "%s: unexpected state %q, wanted target %q", id, now, target)
	}
	log.Fatalf("%s is not %q within %s", id, target, patient)
}

func listTags(client *hsm.Client, id string) map[string]string {
	var found []types.Tag
	pages := hsm.NewListTagsPaginator(client, &hsm.ListTagsInput{ResourceId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		must(err)
		found = append(found, page.TagList...)
	}
	return asMap(found)
}

func tags(pairs ...string) (list []types.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return list
}

func asMap(list []types.Tag) map[string]string {
	found := map[string]string{}
	for _, tag := range list {
		found[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return found
}

func expect(holds bool, form string, values ...interface{}) {
	if !holds {
		log.Fatalf(form, values...)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

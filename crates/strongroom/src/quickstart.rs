//! `strongroom quickstart`: a cluster with two HSMs, a crypto user and a key pair, all through the public API and the public
//! data plane, ready to use. Every step looks first whether it is done, so that a run that was cut goes on, and one that
//! finds everything changes nothing.

mod folder;
mod keys;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, Parser};
use strongroom_model::backup::{Backup, BackupState};
use strongroom_model::call::{
    CreateClusterRequest, CreateHsmRequest, DescribeBackupsRequest, DescribeClustersRequest, InitializeClusterRequest,
    ListBackupContentsRequest, ListSubnetsRequest,
};
use strongroom_model::cluster::{Cluster, ClusterMode, ClusterState};
use strongroom_model::hsm::{Hsm, HsmState};
use strongroom_model::subnet::Subnet;
use strongroom_model::{Call, ClusterId, Reply, Timestamp};

use self::folder::{Folder, USER};
use self::keys::KEY;
use crate::api_client::{ApiClient, FromEnvironment};
use crate::ca::{Bits, CERTIFICATE_FILE, CustomerCa, KEY_FILE};
use crate::configure::{self, Configure};
use crate::human::{counted, seconds, size};
use crate::problem::Problem;
use crate::seams::uuid;

/// The type of the cluster's HSMs.
const HSM_TYPE: &str = "hsm2m.medium";
/// The column in which the time of a step begins.
const TIME_COLUMN: usize = 96;
/// How long a state may take to change: as long as on AWS.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The pauses between two looks at a state: the first ones, and the longest.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// `strongroom quickstart`
#[derive(Clone, Debug, Args)]
pub struct Quickstart {
    /// The folder for its files
    #[arg(long, value_name = "DIR", default_value = "quickstart")]
    to: PathBuf,
    /// The region, $AWS_REGION if not given
    #[arg(long)]
    region: Option<String>,
    /// The URL of the API, $AWS_ENDPOINT_URL_CLOUDHSM_V2 if not given
    #[arg(long)]
    endpoint: Option<String>,
}

/// Runs it, and says on `out` what there is.
///
/// # Errors
/// [`Problem`]; what was made until then stays, and the next run goes on from there.
pub fn run(command: &Quickstart, out: &mut dyn Write) -> Result<(), Problem> {
    let api = ApiClient::from_environment(command.region.as_deref(), command.endpoint.as_deref())?;
    let folder = Folder::open(&command.to, api.config())?;
    let shown = if command.to.is_absolute() { String::new() } else { "./".to_owned() };
    let shown = shown + &command.to.strip_prefix(".").unwrap_or(&command.to).to_string_lossy();
    let header = format!("A cluster in {}, through the public API; files in {shown} (0700)", api.config().region);
    let begun = Instant::now();
    let mut run = Run { api, folder, report: Report { out, header, held_back: Vec::new(), has_made: false } };
    let end = run.all_steps()?;
    let next = next(&command.to, &end, &run);
    let summary = match run.report.has_made {
        true => format!("Done in {}. Next:", seconds(millis(begun))),
        false => format!(
            "{shown} is complete: {} ACTIVE, {}, user {USER}, key {KEY}. Next:",
            end.cluster,
            counted(end.hsms as u64, "HSM")
        ),
    };
    let last = "A key made after this is in the next backup: once a day, or when an HSM is added or removed.";
    run.report.say(&format!("{summary}\n{next}\n{last}"))
}

/// What there is at the end.
struct End {
    cluster: ClusterId,
    hsms: usize,
    backup: Backup,
}

struct Run<'a> {
    api: ApiClient,
    folder: Folder,
    report: Report<'a>,
}

impl Run<'_> {
    fn all_steps(&mut self) -> Result<End, Problem> {
        let subnets = self.subnets()?;
        let id = self.make_cluster(&subnets)?;
        self.make_hsm(&id, &subnets[0], 1)?;
        let ca = self.make_ca()?;
        self.initialize(&id, &ca)?;
        self.activate(&id)?;
        self.make_key_pair()?;
        let hsms = self.make_hsm(&id, &subnets[1], 2)?;
        if self.report.has_made {
            self.configure(&id)?;
        }
        let backup = self.newest_backup(&id)?;
        Ok(End { cluster: id, hsms, backup })
    }

    /// Two subnets in different zones.
    fn subnets(&mut self) -> Result<[Subnet; 2], Problem> {
        let Reply::ListSubnets(reply) = self.api.call(Call::ListSubnets(ListSubnetsRequest {}))? else { mismatch() };
        let mut subnets = reply.subnets;
        subnets.sort_by_key(|subnet| (subnet.origin != "default", subnet.availability_zone.clone()));
        subnets.dedup_by_key(|subnet| subnet.availability_zone.clone());
        let none = || {
            Problem::new("no-subnets", "this region has no subnets in two zones of one VPC")
                .help("strongroom subnet add --vpc vpc-ID --az ZONE subnet-ID")
        };
        let first = subnets.first().cloned().ok_or_else(none)?;
        let second = subnets.into_iter().skip(1).find(|subnet| subnet.vpc_id == first.vpc_id).ok_or_else(none)?;
        Ok([first, second])
    }

    fn make_cluster(&mut self, subnets: &[Subnet; 2]) -> Result<ClusterId, Problem> {
        let begun = Instant::now();
        let known = self.folder.cluster.clone();
        let id = match &known {
            Some(id) => id.clone(),
            None => {
                let input = CreateClusterRequest {
                    hsm_type: HSM_TYPE.to_owned(),
                    mode: Some(ClusterMode::Fips),
                    subnet_ids: subnets.iter().map(|subnet| subnet.subnet_id.clone()).collect(),
                    ..CreateClusterRequest::default()
                };
                // The same id at each run: one that was cut before it wrote the cluster down gets the same one again.
                let invocation = invocation_id(&self.folder.id);
                let reply = self.api.call_as(&invocation, Call::CreateCluster(input))?;
                let Reply::CreateCluster(reply) = reply else { mismatch() };
                let id = reply.cluster.and_then(|cluster| cluster.cluster_id).unwrap_or_default();
                self.folder.cluster = Some(id.clone());
                self.folder.write(self.api.config())?;
                id
            }
        };
        let cluster = self.wait(&id, |cluster| cluster.state != Some(ClusterState::CreateInProgress))?;
        let mode = cluster.mode.unwrap_or_default();
        let text = format!("{id}   {}, {mode}", cluster.hsm_type.unwrap_or_default());
        self.report.step("cluster", &text, Made { now: known.is_none(), begun })?;
        Ok(id)
    }

    /// Makes HSMs until there are `count`, and waits for them; tells how many there are.
    fn make_hsm(&mut self, id: &ClusterId, subnet: &Subnet, count: usize) -> Result<usize, Problem> {
        let begun = Instant::now();
        let is_new = self.cluster(id)?.hsms.unwrap_or_default().len() < count;
        if is_new {
            let availability_zone = subnet.availability_zone.clone();
            let input = CreateHsmRequest { cluster_id: id.clone(), availability_zone, ip_address: None };
            self.api.call(Call::CreateHsm(input))?;
        }
        let is_ready = |hsm: &Hsm| !matches!(hsm.state, Some(HsmState::CreateInProgress));
        let cluster = self.wait(id, |cluster| {
            let hsms = cluster.hsms.iter().flatten();
            hsms.clone().count() >= count && hsms.clone().all(is_ready)
        })?;
        let hsms = cluster.hsms.unwrap_or_default();
        let hsm = hsms.iter().find(|hsm| hsm.subnet_id.as_ref() == Some(&subnet.subnet_id)).or(hsms.last());
        let hsm = hsm.cloned().unwrap_or_default();
        let zone = hsm.availability_zone.unwrap_or_default();
        let (address, eni) =
            (hsm.eni_ip.unwrap_or_default(), hsm.eni_id.map_or_else(String::new, |eni| eni.to_string()));
        let rest = match count {
            1 => format!("{address}, {eni}"),
            _ => format!("{address}; adding it makes a backup, as on AWS"),
        };
        let text = format!("{:<20}  {zone}, {rest}", hsm.hsm_id);
        self.report.step("HSM", &text, Made { now: is_new, begun })?;
        Ok(hsms.len())
    }

    fn make_ca(&mut self) -> Result<CustomerCa, Problem> {
        let begun = Instant::now();
        let [certificate, key] = [CERTIFICATE_FILE, KEY_FILE].map(|file| self.folder.path().join(file));
        let is_new = !certificate.exists();
        let ca = match is_new {
            false => CustomerCa::read(&certificate, &key)?,
            true => {
                // A key alone is of a run that was cut before the certificate was there; nobody trusts it yet.
                let _ = std::fs::remove_file(&key);
                let ca = CustomerCa::create(Bits::Rsa2048, SystemTime::now())?;
                ca.write(self.folder.path())?;
                ca
            }
        };
        let text = format!("{KEY_FILE}, {CERTIFICATE_FILE}   {}", ca.summary());
        self.report.step("customer CA", &text, Made { now: is_new, begun })?;
        Ok(ca)
    }

    fn initialize(&mut self, id: &ClusterId, ca: &CustomerCa) -> Result<(), Problem> {
        let begun = Instant::now();
        let cluster = self.cluster(id)?;
        let is_new = cluster.state == Some(ClusterState::Uninitialized);
        if is_new {
            let csr = cluster.certificates.and_then(|certificates| certificates.cluster_csr).unwrap_or_default();
            let signed_cert = ca.sign(&csr, SystemTime::now())?;
            let trust_anchor = ca.certificate_pem();
            let input = InitializeClusterRequest { cluster_id: id.clone(), signed_cert, trust_anchor };
            self.api.call(Call::InitializeCluster(input))?;
        }
        self.wait(id, |cluster| cluster.state != Some(ClusterState::InitializeInProgress))?;
        let text = "CSR signed by the customer CA, checked, installed";
        self.report.step("initialized", text, Made { now: is_new, begun })
    }

    fn activate(&mut self, id: &ClusterId) -> Result<(), Problem> {
        let begun = Instant::now();
        let is_new = self.cluster(id)?.state == Some(ClusterState::Initialized);
        if is_new {
            self.configure(id)?;
        }
        let mut session = keys::session(self.folder.path())?;
        if is_new {
            keys::activate(&mut session, &self.folder)?;
        }
        let made_user = keys::make_user(&mut session, &self.folder)?;
        self.wait(id, |cluster| cluster.state == Some(ClusterState::Active))?;
        let env = self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = format!("admin, and crypto user {USER}; passwords in {env}/env");
        self.report.step("activated", &text, Made { now: is_new || made_user, begun })
    }

    fn make_key_pair(&mut self) -> Result<(), Problem> {
        let begun = Instant::now();
        let mut session = keys::session(self.folder.path())?;
        let is_new = keys::make_key_pair(&mut session, &self.folder)?;
        let text = format!("{:<20}  RSA 2048, signs, cannot be exported", format!("{KEY}, {KEY}-pub"));
        self.report.step("key pair", &text, Made { now: is_new, begun })
    }

    /// Writes the files with which clients find the HSMs that there are now.
    fn configure(&self, id: &ClusterId) -> Result<(), Problem> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            configure: Configure,
        }
        let config = self.api.config();
        let folder = self.folder.path();
        let words =
            ["configure", "--cluster-id", id.as_str(), "--region", &config.region, "--endpoint", &config.endpoint];
        let words = words.map(Into::into).into_iter().chain([
            "--hsm-ca-cert".into(),
            folder.join(CERTIFICATE_FILE).into_os_string(),
            "--to".into(),
            folder.as_os_str().to_owned(),
        ]);
        let line = Line::try_parse_from(words).map_err(|e| Problem::new("configure", "cannot configure").cause(e))?;
        configure::run_configure(&line.configure, &FromEnvironment, &mut std::io::sink())
    }

    fn newest_backup(&mut self, id: &ClusterId) -> Result<Backup, Problem> {
        let values = |value: &str| vec![value.to_owned()];
        let filters = [("clusterIds".to_owned(), values(id.as_str())), ("states".to_owned(), values("READY"))];
        let input = DescribeBackupsRequest { filters: Some(filters.into()), ..DescribeBackupsRequest::default() };
        let Reply::DescribeBackups(reply) = self.api.call(Call::DescribeBackups(input))? else { mismatch() };
        let backups = reply.backups.unwrap_or_default();
        let newest =
            backups.into_iter().max_by_key(|backup| backup.create_timestamp.unwrap_or(Timestamp::from_millis(0)));
        let backup = newest.ok_or_else(|| Problem::new("no-backup", format!("{id} has no backup that is READY")))?;
        let input = ListBackupContentsRequest {
            backup_ids: Some(vec![backup.backup_id.clone()]),
            ..ListBackupContentsRequest::default()
        };
        let Reply::ListBackupContents(reply) = self.api.call(Call::ListBackupContents(input))? else { mismatch() };
        let content = reply.backups.into_iter().next().unwrap_or_default();
        let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let text = format!(
            "{:<20}  {}, opened and checked: {}, {}, {}",
            backup.backup_id,
            backup.backup_state.unwrap_or(BackupState::Ready),
            counted(count(content.users), "user"),
            counted(count(content.keys), "key"),
            size(count(content.bytes))
        );
        self.report.line("backup", &text)?;
        Ok(backup)
    }

    fn cluster(&mut self, id: &ClusterId) -> Result<Cluster, Problem> {
        let filters = [("clusterIds".to_owned(), vec![id.to_string()])];
        let input = DescribeClustersRequest { filters: Some(filters.into()), ..DescribeClustersRequest::default() };
        let Reply::DescribeClusters(reply) = self.api.call(Call::DescribeClusters(input))? else { mismatch() };
        let is_gone =
            |state: Option<ClusterState>| matches!(state, Some(ClusterState::DeleteInProgress | ClusterState::Deleted));
        let found = reply.clusters.unwrap_or_default().into_iter().next().filter(|cluster| !is_gone(cluster.state));
        found.ok_or_else(|| {
            let (region, folder) = (&self.api.config().region, self.folder.path().display());
            Problem::new("cluster-gone", format!("{id} is not in {region} any more"))
                .cause(format!("{folder} is about that cluster"))
                .help("move the folder away, or:  strongroom quickstart --to DIR")
        })
    }

    fn wait(&mut self, id: &ClusterId, is_there: impl Fn(&Cluster) -> bool) -> Result<Cluster, Problem> {
        let (begun, mut pause) = (Instant::now(), PAUSE);
        loop {
            let cluster = self.cluster(id)?;
            if is_there(&cluster) {
                return Ok(cluster);
            }
            if begun.elapsed() > PATIENCE {
                let state = cluster.state.unwrap_or_default();
                return Err(Problem::new("slow", format!("{id} is still {state}"))
                    .cause(cluster.state_message.unwrap_or_default())
                    .help("strongroom quickstart goes on from here"));
            }
            std::thread::sleep(pause);
            pause = (pause * 5 / 4).min(PAUSE_MAX);
        }
    }
}

/// Whether a step made what it is about, and since when it runs.
struct Made {
    now: bool,
    begun: Instant,
}

/// What is said: nothing until something is made, since a run that changes nothing says so in a line.
struct Report<'a> {
    out: &'a mut dyn Write,
    header: String,
    held_back: Vec<String>,
    has_made: bool,
}

impl Report<'_> {
    fn step(&mut self, name: &str, text: &str, made: Made) -> Result<(), Problem> {
        if made.now && !self.has_made {
            self.has_made = true;
            let lines: Vec<&str> = [&self.header].into_iter().chain(&self.held_back).map(String::as_str).collect();
            let lines = lines.join("\n");
            self.say(&lines)?;
        }
        let time = if made.now { seconds(millis(made.begun)) } else { "there already".to_owned() };
        let line = format!("  {name:<11}  {text}");
        self.put(format!("{line:<TIME_COLUMN$}  {time}"))
    }

    fn line(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        self.put(format!("  {name:<11}  {text}"))
    }

    fn put(&mut self, line: String) -> Result<(), Problem> {
        if self.has_made {
            return self.say(&line);
        }
        self.held_back.push(line);
        Ok(())
    }

    fn say(&mut self, text: &str) -> Result<(), Problem> {
        writeln!(self.out, "{text}").map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
    }
}

/// The lines to paste.
fn next(to: &Path, end: &End, run: &Run<'_>) -> String {
    let elsewhere = if run.api.config().region == "eu-west-1" { "us-east-1" } else { "eu-west-1" };
    let mut lines = vec![
        format!("  . {}", to.join("env").display()),
        format!(
            "  cloudhsm-cli crypto sign rsa-pkcs --key-filter attr.label={KEY} --hash-function sha256 --data aGVsbG8="
        ),
        format!(
            "  aws cloudhsmv2 copy-backup-to-region --destination-region {elsewhere} --backup-id {}",
            end.backup.backup_id
        ),
    ];
    let module = run.folder.module.as_ref();
    lines.extend(
        module.map(|_| "  pkcs11-tool --module \"$STRONGROOM_PKCS11\" --login --pin \"$CLOUDHSM_PIN\" -O".to_owned()),
    );
    lines.join("\n")
}

fn invocation_id(id: &str) -> String {
    let bytes = data_encoding::HEXLOWER.decode(id.as_bytes()).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.map_or_else(|| id.to_owned(), uuid)
}

fn millis(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

fn mismatch() -> ! {
    unreachable!("a reply is of its call's operation")
}

//! `strongroom subnet`: there is no EC2 behind strongroom, so it keeps what it is told about subnets before they are used,
//! and what it has adopted.

use std::io::Write;

use clap::Subcommand;
use serde_json::{Value, json};
use strongroom_model::call::{AddSubnetRequest, ListSubnetsRequest};
use strongroom_model::subnet::Subnet;
use strongroom_model::{Call, Reply, SubnetId, VpcId};

use crate::api_client::ApiClient;
use crate::human::{Style, Table};
use crate::problem::Problem;

/// `strongroom subnet`
#[derive(Clone, Debug, Subcommand)]
pub enum SubnetCommand {
    /// The subnets that the region knows
    List,
    /// State the VPC and the zone of a subnet, before it is used
    Add {
        /// The subnet
        #[arg(value_name = "SUBNET")]
        subnet_id: String,
        /// Its VPC
        #[arg(long, value_name = "VPC")]
        vpc: String,
        /// Its availability zone
        #[arg(long, value_name = "ZONE")]
        az: String,
    },
}

/// Runs the command.
///
/// # Errors
/// [`Problem`]
pub fn run(command: &SubnetCommand, style: &Style, out: &mut dyn Write) -> Result<(), Problem> {
    let mut api = ApiClient::from_environment(None, None)?;
    let subnets = match command {
        SubnetCommand::List => match api.call(Call::ListSubnets(ListSubnetsRequest {}))? {
            Reply::ListSubnets(reply) => reply.subnets,
            _ => unreachable!("a reply is of its call's operation"),
        },
        SubnetCommand::Add { subnet_id, vpc, az } => {
            let input = AddSubnetRequest {
                subnet_id: SubnetId::new(subnet_id),
                vpc_id: VpcId::new(vpc),
                availability_zone: az.clone(),
            };
            match api.call(Call::AddSubnet(input))? {
                Reply::AddSubnet(reply) => vec![reply.subnet],
                _ => unreachable!("a reply is of its call's operation"),
            }
        }
    };
    let text = if style.json { format!("{}\n", as_json(&subnets)) } else { table(&subnets).text(style) };
    write!(out, "{text}").map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
}

fn table(subnets: &[Subnet]) -> Table {
    let mut table = Table::new(&["SUBNET", "VPC", "ZONE", "KNOWN"]);
    for subnet in subnets {
        table.row(vec![
            subnet.subnet_id.to_string(),
            subnet.vpc_id.to_string(),
            subnet.availability_zone.clone(),
            subnet.origin.clone(),
        ]);
    }
    table
}

fn as_json(subnets: &[Subnet]) -> Value {
    let one = |subnet: &Subnet| {
        json!({
            "subnet_id": subnet.subnet_id.as_str(),
            "vpc_id": subnet.vpc_id.as_str(),
            "availability_zone": subnet.availability_zone,
            "origin": subnet.origin,
        })
    };
    json!({ "format": "strongroom.subnets/1", "subnets": subnets.iter().map(one).collect::<Vec<_>>() })
}

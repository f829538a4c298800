//! `strongroom dev`: regions on this machine, for tests. One process answers the API of all its regions; its child, the HSM
//! host, holds their keys. The order of a start: the data folder's lock, what was decided before, the addresses, the HSM
//! host, the door (calls wait there for their region), then each region. A stop goes back: no new job, calls under way
//! end, the host ends, and with `--ephemeral` everything is removed.
//!
//! It never listens on anything but loopback.

mod banner;
mod command;
mod folder;
mod listen;
mod region;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use futures_util::future::{try_join_all, BoxFuture};
use strongroom_engine::{Caller, Pace, Region};
use strongroom_model::call::ListCopiesRequest;
use strongroom_model::copy::{Copy, CopyDirection, CopyState};
use strongroom_model::{AccountId, Call, RegionName, Reply};
use strongroom_store::control::{backups, clusters, hsms};
use strongroom_store::{Database, StoreError};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use self::banner::{Banner, Content};
use self::folder::{DevFile, Folder, RegionsAsked, shown};
use self::region::{DevSettings, Door, Opened};
use crate::http::{self, Api, DevCredentials, Front};
use crate::log::{self, Form};
use crate::problem::{Exit, Problem};
use crate::seams::{SystemClock, random};

//! Owns how long states take when a region is told to be as slow as AWS.

use strongroom_model::time::{MINUTE, SECOND};

use crate::job::JobKind;
use crate::region::Pace;

/// Milliseconds before a job of this kind begins. The figures are about those that users of AWS report.
pub(crate) fn delay(pace: Pace, kind: JobKind) -> i64 {
    let Pace::Aws(factor) = pace else { return 0 };
    let as_on_aws = match kind {
        JobKind::ClusterMake => 3 * MINUTE,
        JobKind::ClusterRemove => 20 * SECOND,
        JobKind::Copy => 2 * MINUTE,
        JobKind::HsmMake => 12 * MINUTE,
        JobKind::HsmRemove => 10 * MINUTE,
        JobKind::Init => 3 * MINUTE,
        JobKind::Modify => 30 * MINUTE,
        JobKind::Restore => 5 * MINUTE,
        JobKind::Snapshot => MINUTE,
        _ => 0,
    };
    (as_on_aws as f64 * factor) as i64
}

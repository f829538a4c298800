//! Owns how a host call fails inside this crate: [`Failure`] is what the API process is told, [`Stop`] ends a transaction
//! with either that or the vault's own failure, which is handed back to the vault untouched.

use strongroom_link::host::{Failure, FailureCode};

use crate::rows::{Rows, RowsError, VaultTx};
use crate::seal::Damaged;

/// A failure with its sentence.
pub(crate) fn failure(code: FailureCode, text: impl Into<String>) -> Failure {
    Failure { code, text: text.into() }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        let code = match error {
            RowsError::Full => FailureCode::NoSpace,
            RowsError::Failed(_) => FailureCode::VaultFailed,
        };
        failure(code, error.to_string())
    }
}

impl From<Damaged> for Failure {
    fn from(damaged: Damaged) -> Self {
        failure(FailureCode::Damaged, damaged.0)
    }
}

/// Why a transaction ends without its effect.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The vault failed.
    Rows(RowsError),
    /// The call is refused.
    Refused(Failure),
}

impl From<RowsError> for Stop {
    fn from(error: RowsError) -> Self {
        Self::Rows(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<Damaged> for Stop {
    fn from(damaged: Damaged) -> Self {
        Self::Refused(damaged.into())
    }
}

/// What is inside a seal that held is not a backup.
impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Refused(failure(FailureCode::DoesNotOpen, what))
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Rows(error) => error.into(),
            Stop::Refused(refusal) => refusal,
        }
    }
}

/// Runs `body` in a transaction that only reads.
pub(crate) fn read<T>(
    rows: &dyn Rows,
    body: &mut dyn FnMut(&mut dyn VaultTx) -> Result<T, Stop>,
) -> Result<T, Failure> {
    transact(|closure| rows.read(closure), body)
}

/// Runs `body` in a transaction and commits it, unless it stops.
pub(crate) fn write<T>(
    rows: &dyn Rows,
    body: &mut dyn FnMut(&mut dyn VaultTx) -> Result<T, Stop>,
) -> Result<T, Failure> {
    transact(|closure| rows.write(closure), body)
}

type Closure<'a> = &'a mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>;

fn transact<T>(
    run: impl FnOnce(Closure<'_>) -> Result<(), RowsError>,
    body: &mut dyn FnMut(&mut dyn VaultTx) -> Result<T, Stop>,
) -> Result<T, Failure> {
    let mut outcome = None;
    let ran = run(&mut |tx| match body(tx) {
        Ok(value) => {
            outcome = Some(Ok(value));
            Ok(())
        }
        Err(Stop::Refused(refusal)) => {
            outcome = Some(Err(refusal));
            Err(RowsError::Failed("the call is refused".to_owned()))
        }
        Err(Stop::Rows(error)) => {
            outcome = None;
            Err(error)
        }
    });
    match (ran, outcome) {
        (Ok(()), Some(outcome)) => outcome,
        (Err(_), Some(Err(refusal))) => Err(refusal),
        (Err(error), _) => Err(error.into()),
        (Ok(()), None) => Err(failure(FailureCode::VaultFailed, "the vault did not run the transaction")),
    }
}

//! Owns the HSM host as a child process: started in a process group of its own, so that Ctrl-C in a terminal reaches the
//! parent alone; restarted whenever it ends, after 0.1 s and then twice as long each time, up to 5 s; ended at last by
//! closing its standard input, which it takes as the word to finish its answers and go. A parent that dies closes that pipe
//! too, so that no child outlives it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The pause before the first restart.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause; a child that ran for longer has a first restart again.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a child may take to end once its pipe is closed: a little more than it takes at most.
const GRACE: Duration = Duration::from_secs(12);

/// What is run.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables beside the parent's own.
    pub variables: Vec<(OsString, OsString)>,
}

/// What the child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It runs, under this process id.
    Running(u32),
    /// It ended by itself and will be started again.
    Ended(ExitStatus),
    /// It could not be started; that is tried again too.
    NotStarted(io::ErrorKind),
}

/// A child that is kept running until it is stopped. Dropped instead, it is stopped without waiting.
#[derive(Debug)]
pub struct Supervisor {
    stop: oneshot::Sender<()>,
    state: watch::Receiver<ChildState>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts the program, on the runtime of the caller.
    ///
    /// # Errors
    /// What the system said to the first start.
    pub fn start(program: Program) -> io::Result<Self> {
        let child = spawn(&program)?;
        let (stop, stopped) = oneshot::channel();
        let (tell, state) = watch::channel(running(&child));
        let task = tokio::spawn(keep_running(program, child, tell, stopped));
        Ok(Self { stop, state, task })
    }

    /// What the child does, and each change of that.
    pub fn state(&self) -> watch::Receiver<ChildState> {
        self.state.clone()
    }

    /// Closes the child's pipe and waits for its end; one that takes too long is killed.
    pub async fn stop(self) {
        drop(self.stop);
        // A panic of the task has killed the child by dropping it.
        let _ = self.task.await;
    }
}

fn spawn(program: &Program) -> io::Result<Child> {
    Command::new(&program.executable)
        .args(&program.arguments)
        .envs(program.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

fn running(child: &Child) -> ChildState {
    ChildState::Running(child.id().expect("it was not waited for yet"))
}

async fn keep_running(
    program: Program,
    mut child: Child,
    tell: watch::Sender<ChildState>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let begun = Instant::now();
        // Taken out of the child, whose `wait` would close it.
        let pipe = child.stdin.take();
        let ended = tokio::select! {
            ended = child.wait() => ended,
            _ = &mut stopped => {
                drop(pipe);
                return end(child).await;
            }
        };
        let state = ended.map_or_else(|error| ChildState::NotStarted(error.kind()), ChildState::Ended);
        tell.send_replace(state);
        if begun.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        child = loop {
            tracing::warn!(kind = "host", "the HSM host ended ({}), next start in {pause:?}", describe(*tell.borrow()));
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut stopped => return,
            }
            pause = (pause * 2).min(PAUSE_MAX);
            match spawn(&program) {
                Ok(child) => break child,
                Err(error) => drop(tell.send_replace(ChildState::NotStarted(error.kind()))),
            }
        };
        tell.send_replace(running(&child));
    }
}

async fn end(mut child: Child) {
    if timeout(GRACE, child.wait()).await.is_err() {
        tracing::warn!(kind = "host", "the HSM host did not end in {} s and is killed", GRACE.as_secs());
        if let Err(error) = child.kill().await {
            tracing::error!(kind = "host", "the HSM host cannot be killed: {error}");
        }
    }
}

fn describe(state: ChildState) -> String {
    match state {
        ChildState::Running(id) => format!("process {id}"),
        ChildState::Ended(status) => status.to_string(),
        ChildState::NotStarted(kind) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str) -> Program {
        Program { executable: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], variables: vec![] }
    }

    async fn next(state: &mut watch::Receiver<ChildState>) -> ChildState {
        timeout(Duration::from_secs(30), state.changed()).await.expect("a change in time").unwrap();
        *state.borrow_and_update()
    }

    #[tokio::test]
    async fn a_killed_child_is_replaced_and_a_stopped_one_ends_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let ended = folder.path().join("ended");
        let supervisor = Supervisor::start(shell(&format!("cat; echo $$ >> {}", ended.display()))).unwrap();
        let mut state = supervisor.state();
        let ChildState::Running(first) = *state.borrow_and_update() else { panic!("not running") };

        let killed = rustix::process::Pid::from_raw(first.try_into().unwrap()).unwrap();
        rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
        let mut seen = next(&mut state).await;
        if let ChildState::Ended(status) = seen {
            assert_eq!(status.signal(), Some(9));
            seen = next(&mut state).await;
        }
        let ChildState::Running(second) = seen else { panic!("{seen:?}") };
        assert_ne!(first, second);

        supervisor.stop().await;
        assert_eq!(std::fs::read_to_string(ended).unwrap().trim(), second.to_string());
    }

    #[tokio::test]
    async fn a_child_is_in_a_process_group_of_its_own() {
        let supervisor = Supervisor::start(shell("cat")).unwrap();
        let ChildState::Running(id) = *supervisor.state().borrow() else { panic!("not running") };
        let child = rustix::process::Pid::from_raw(id.try_into().unwrap());
        assert_eq!(rustix::process::getpgid(child).ok(), child);
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_told() {
        let missing = Program { executable: "/nowhere/strongroom".into(), arguments: vec![], variables: vec![] };
        assert_eq!(Supervisor::start(missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

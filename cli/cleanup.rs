//! What must not outlive an interrupted run: half-written files, temporary folders, child
//! processes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::exit::{Code, Failure, Outcome};
use crate::process;

/// How often a folder is removed that is not empty any more.
const ATTEMPTS: usize = 100;
/// How often, and with what pauses, a thread that panics waits for what another one is creating.
const PATIENCE: usize = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Shared with the thread that waits for the interruption.
#[derive(Clone, Default)]
pub(crate) struct Cleanup(Arc<Mutex<Pending>>);

#[derive(Default)]
struct Pending {
    paths: BTreeSet<PathBuf>,
    children: Vec<Child>,
}

/// A file or folder that is removed when this is dropped, or when the run is interrupted.
pub(crate) struct Temporary {
    path: PathBuf,
    cleanup: Cleanup,
}

/// A child process that is killed when this is dropped, or when the run is interrupted.
pub(crate) struct Kept {
    id: u32,
    cleanup: Cleanup,
}

impl Cleanup {
    /// From now on, Ctrl-C, a request to terminate and every other signal that would end the
    /// process by itself clean up and end it.
    pub(crate) fn on_interrupt(&self) -> Outcome<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(|error| unwatched(&error))?;
        let interrupted = {
            // Registered before any work starts, so that there is no moment without it.
            let _inside = runtime.enter();
            interruption().map_err(|error| unwatched(&error))?
        };
        let cleanup = self.clone();
        process::spawn("signals", move || {
            runtime.block_on(interrupted);
            // Held until the process ends: nothing new can be created meanwhile.
            let mut pending = cleanup.lock();
            pending.clear();
            std::process::exit(i32::from(Code::Interrupted as u8));
        })?;
        Ok(())
    }

    /// Removes and ends everything, from a thread that panics. Never waits for long: where that
    /// very thread was creating something, the lock stays taken.
    pub(crate) fn now(&self) {
        for _ in 0..PATIENCE {
            match self.0.try_lock() {
                Ok(mut pending) => return pending.clear(),
                Err(TryLockError::Poisoned(pending)) => return pending.into_inner().clear(),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Creates something that is temporary, unless the run is being interrupted.
    pub(crate) fn create<T>(
        &self,
        path: PathBuf,
        create: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<(Temporary, T)> {
        // Locked: what is created after an interruption would never be removed.
        let mut pending = self.lock();
        let created = create(&path)?;
        pending.paths.insert(path.clone());
        drop(pending);
        Ok((Temporary { path, cleanup: self.clone() }, created))
    }

    /// Starts a child.
    pub(crate) fn spawn(&self, command: &mut Command) -> Outcome<(Kept, ChildPipes)> {
        // The child is listed before the lock is let go, so that an interruption finds it.
        let mut pending = self.lock();
        let mut child =
            command.spawn().map_err(|error| Failure::refused("another process", &error))?;
        let pipes = ChildPipes { stdout: child.stdout.take(), stderr: child.stderr.take() };
        let id = child.id();
        pending.children.push(child);
        drop(pending);
        Ok((Kept { id, cleanup: self.clone() }, pipes))
    }

    /// Runs a part during which the process is not interrupted.
    pub(crate) fn uninterrupted<T>(&self, part: impl FnOnce() -> T) -> T {
        let _pending = self.lock();
        part()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a child writes.
pub(crate) struct ChildPipes {
    pub(crate) stdout: Option<std::process::ChildStdout>,
    pub(crate) stderr: Option<std::process::ChildStderr>,
}

impl Pending {
    fn clear(&mut self) {
        for child in &mut self.children {
            end(child);
        }
        for path in &self.paths {
            remove(path);
        }
    }
}

impl Temporary {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        remove(&self.path);
        self.cleanup.lock().paths.remove(&self.path);
    }
}

impl Kept {
    #[cfg(test)]
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// Waits for a child that has closed its output: it is about to end.
    pub(crate) fn wait(self) -> Outcome<ExitStatus> {
        let mut pending = self.cleanup.lock();
        let child = pending.children.iter_mut().find(|child| child.id() == self.id);
        let status = child.map(Child::wait).and_then(Result::ok);
        drop(pending);
        status.ok_or_else(|| Failure::internal("a child process was lost"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut pending = self.cleanup.lock();
        if let Some(at) = pending.children.iter().position(|child| child.id() == self.id) {
            end(&mut pending.children.swap_remove(at));
        }
    }
}

fn end(child: &mut Child) {
    // Both fail only where the child has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn remove(path: &Path) {
    if !path.is_dir() {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(path);
        return;
    }
    // Another thread may still be writing into the folder; once that is gone, it cannot.
    for _ in 0..ATTEMPTS {
        if std::fs::remove_dir_all(path).is_ok() {
            return;
        }
    }
}

fn unwatched(error: &io::Error) -> Failure {
    Failure::internal(format_args!("cannot watch for Ctrl-C: {error}"))
}

/// Ends when the user or the system wants this process to end.
#[cfg(unix)]
fn interruption() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    /// The time that the processor may spend is used up (SIGXCPU), and a file grows too large
    /// (SIGXFSZ). These numbers are Linux's, macOS's and the BSDs'.
    const PROCESSOR: SignalKind = SignalKind::from_raw(24);
    const FILE_SIZE: SignalKind = SignalKind::from_raw(25);
    // Caught, it does nothing, and the write fails by an error that names the file. A handler stays
    // when this is dropped.
    drop(signal(FILE_SIZE)?);
    let mut ending = vec![
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::quit(),
        SignalKind::alarm(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        PROCESSOR,
    ];
    if !is_ignored(SignalKind::hangup()) {
        ending.push(SignalKind::hangup());
    }
    let mut ending = ending.into_iter().map(signal).collect::<io::Result<Vec<_>>>()?;
    Ok(std::future::poll_fn(move |context| {
        let caught = ending.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if caught { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    }))
}

/// Whether whoever started this process wants it to outlive a signal, as nohup does. Where the
/// system does not say so in `/proc`, no.
#[cfg(unix)]
fn is_ignored(kind: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// Ends when the user wants this process to end.
#[cfg(not(unix))]
fn interruption() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

//! One current-thread runtime per core (D10): accepted connections are dealt to them in turn, and a connection stays where it is.
//!
//! ```text
//!   listener --accept--> deal --> runtime 0: services, hub, mailbox
//!                            \--> runtime 1: services, hub, mailbox
//! ```

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// A thread with a runtime of its own.
pub struct Thread {
    handle: Handle,
    end: watch::Sender<bool>,
    join: Option<JoinHandle<()>>,
}

impl Thread {
    pub fn start(name: &str) -> io::Result<Thread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
        let handle = runtime.handle().clone();
        let (end, mut ended) = watch::channel(false);
        let join = std::thread::Builder::new().name(name.into()).spawn(move || {
            runtime.block_on(async move {
                // An error means that the sender is gone, which ends the thread too.
                let _ = ended.wait_for(|&end| end).await;
            });
            runtime.shutdown_background();
        })?;
        Ok(Thread { handle, end, join: Some(join) })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(join) = self.join.take() {
            // A panic on it was reported where it happened.
            let _ = join.join();
        }
    }
}

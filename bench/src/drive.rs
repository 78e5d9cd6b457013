//! Clients in a closed loop, and what was measured while they ran.
//!
//! ```text
//!   warm-up | ------- window ------- | stop        an operation counts when it ends inside the window
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::device::Device;
use crate::report::Row;
use crate::server::{Server, Usage};

const WARM_UP: Duration = Duration::from_secs(1);
/// Latencies are kept in nanoseconds to three digits, up to this.
const LATENCY_MAX_NS: u64 = 120_000_000_000;

/// Operations seen so far in the window, shared by all clients of a load.
pub struct Tally {
    histogram: RefCell<Histogram<u64>>,
    is_open: Cell<bool>,
    is_over: Cell<bool>,
    failures: Cell<u64>,
    failure: RefCell<Option<anyhow::Error>>,
}

impl Tally {
    pub fn new() -> Result<Rc<Tally>> {
        let histogram = RefCell::new(Histogram::new_with_max(LATENCY_MAX_NS, 3)?);
        Ok(Rc::new(Tally {
            histogram,
            is_open: Cell::new(false),
            is_over: Cell::new(false),
            failures: Cell::new(0),
            failure: RefCell::new(None),
        }))
    }

    pub fn took(&self, latency: Duration) {
        if self.is_open.get() {
            self.histogram.borrow_mut().saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub fn failed(&self, error: anyhow::Error) {
        self.failures.set(self.failures.get() + 1);
        self.failure.borrow_mut().get_or_insert(error);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    pub fn end(&self) {
        self.is_open.set(false);
        self.is_over.set(true);
    }

    pub fn percentile_us(&self, percentile: f64) -> f64 {
        self.histogram.borrow().value_at_quantile(percentile / 100.0) as f64 / 1e3
    }

    pub fn max_us(&self) -> f64 {
        self.histogram.borrow().max() as f64 / 1e3
    }

    pub fn count(&self) -> u64 {
        self.histogram.borrow().len()
    }

    /// An error when operations failed: numbers of a run that did not work are worth nothing.
    pub fn check(&self) -> Result<()> {
        match self.failure.take() {
            Some(error) => Err(anyhow!("{} operations failed, the first with: {error:#}", self.failures.get())),
            None => Ok(()),
        }
    }
}

/// Runs `clients` loops of `operation(client)` and keeps them going until the tally is over, with `pause` between operations.
pub fn spawn_clients<F, R>(clients: usize, pause: Duration, tally: &Rc<Tally>, operation: F)
where
    F: Fn(usize) -> R + 'static,
    R: Future<Output = Result<()>> + 'static,
{
    let operation = Rc::new(operation);
    for client in 0..clients {
        let (operation, tally) = (operation.clone(), tally.clone());
        tokio::task::spawn_local(async move {
            while !tally.is_over() {
                let start = Instant::now();
                match operation(client).await {
                    Ok(()) => tally.took(start.elapsed()),
                    Err(error) => {
                        tally.failed(error);
                        return;
                    }
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        });
    }
}

/// A closed loop of `clients`, measured for `seconds` after the warm-up.
pub async fn closed_loop<F, R>(load: &str, server: &Server, clients: usize, seconds: Duration, operation: F) -> Result<Row>
where
    F: Fn(usize) -> R + 'static,
    R: Future<Output = Result<()>> + 'static,
{
    let tally = Tally::new()?;
    spawn_clients(clients, Duration::ZERO, &tally, operation);
    tokio::time::sleep(WARM_UP).await;
    let device = server.device()?;
    let before = device.as_ref().map(Device::written).transpose()?;
    let mut row = measured(load, server, &tally, tokio::time::sleep(seconds)).await?;
    tally.end();
    if let (Some(device), Some(before)) = (device, before) {
        let after = device.written_when_quiet().await?;
        row.set("written", (after - before) as f64 / tally.count() as f64 * 1000.0 / 1024.0);
    }
    Ok(row)
}

/// Opens the window over what is running already, and closes it again.
pub async fn window(load: &str, server: &Server, seconds: Duration, tally: &Tally) -> Result<Row> {
    tokio::time::sleep(WARM_UP).await;
    measured(load, server, tally, tokio::time::sleep(seconds)).await
}

/// Opens the window for as long as `work` takes.
pub async fn measured<T>(load: &str, server: &Server, tally: &Tally, work: impl Future<Output = T>) -> Result<Row> {
    let (before, own_before, start) = (server.usage()?, Usage::own()?, Instant::now());
    tally.is_open.set(true);
    work.await;
    tally.is_open.set(false);
    let took = start.elapsed().as_secs_f64();
    let (after, own_after) = (server.usage()?, Usage::own()?);
    tally.check()?;
    ensure!(tally.count() > 0, "no operation ended in {took:.1} s");

    let count = tally.count() as f64;
    let each_us = |from: Duration, to: Duration| (to - from).as_secs_f64() * 1e6 / count;
    let mut row = Row::new(load);
    row.set("rate", count / took);
    row.set("p50", tally.percentile_us(50.0));
    row.set("p99", tally.percentile_us(99.0));
    row.set("longest", tally.max_us());
    row.set("cpu", each_us(before.cpu, after.cpu));
    row.set("switches", after.switches.saturating_sub(before.switches) as f64 / count);
    row.set("client cpu", each_us(own_before.cpu, own_after.cpu));
    row.set("rss peak", after.rss_peak_kib as f64 / 1024.0);
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_count_inside_the_window_only() {
        let tally = Tally::new().unwrap();
        tally.took(Duration::from_micros(1));
        tally.is_open.set(true);
        for latency in 1..=100 {
            tally.took(Duration::from_millis(latency));
        }
        tally.end();
        tally.took(Duration::from_secs(9));
        assert_eq!(tally.count(), 100);
        assert!((49_000.0..51_000.0).contains(&tally.percentile_us(50.0)), "{}", tally.percentile_us(50.0));
        assert!((99_000.0..101_000.0).contains(&tally.max_us()), "{}", tally.max_us());
    }

    #[test]
    fn a_failed_operation_fails_the_run() {
        let tally = Tally::new().unwrap();
        assert!(tally.check().is_ok());
        tally.failed(anyhow!("refused"));
        tally.failed(anyhow!("refused again"));
        assert_eq!(tally.check().unwrap_err().to_string(), "2 operations failed, the first with: refused");
    }
}

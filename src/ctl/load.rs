//! A load of puts: so many clients, each on a connection of its own, and how long each put took.
//!
//! ```text
//!   keys ----queue, one place a client----> client 0..n ----Took----> Report
//! ```
//!
//! Writes: keys of one prefix. Reads: the clock.
//! Bound: as many puts under way as there are clients; the producer waits.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use rand::Rng;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use crate::{
    client::Client,
    clock::{Clock, SystemClock},
    wire::etcdserverpb::PutRequest,
};

/// What is put where.
#[derive(Clone, Debug)]
pub struct Puts {
    pub prefix: Bytes,
    /// After the prefix.
    pub key_bytes: usize,
    pub value_bytes: usize,
}

/// Where the keys of a load come from, until it says that there are no more.
pub type Keys = mpsc::Sender<Bytes>;

/// What became of a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Seconds of each put that was answered.
    pub took: Vec<f64>,
    pub errors: BTreeMap<String, usize>,
    pub total: Duration,
}

impl Report {
    pub fn per_second(&self) -> f64 {
        self.took.len() as f64 / self.total.as_secs_f64()
    }

    pub fn slowest(&self) -> f64 {
        self.took.iter().copied().fold(0.0, f64::max)
    }

    /// The standard deviation.
    pub fn deviation(&self) -> f64 {
        let count = self.took.len() as f64;
        let mean = self.took.iter().sum::<f64>() / count;
        (self.took.iter().map(|took| (took - mean).powi(2)).sum::<f64>() / count).sqrt()
    }
}

impl Puts {
    /// A key that no other put has, as far as chance goes.
    pub fn key(&self) -> Bytes {
        let mut key = self.prefix.to_vec();
        let end = key.len() + self.key_bytes;
        key.extend_from_slice(&rand::rng().random::<[u8; 8]>());
        key.resize(end, 0);
        key.into()
    }

    /// Puts every key that `produce` sends, and tells `done` of each answer.
    pub async fn run<P: Future<Output = ()>>(&self, clients: &[Arc<Client>], produce: impl FnOnce(Keys) -> P, done: impl Fn()) -> Report {
        let clock = SystemClock::default();
        let (keys, queue) = mpsc::channel(clients.len());
        let queue = Arc::new(Mutex::new(queue));
        let (answers, mut answered) = mpsc::channel(clients.len());
        let mut workers = JoinSet::new();
        let value = Bytes::from(vec![0; self.value_bytes]);
        for client in clients {
            let (client, queue, answers, value) = (client.clone(), queue.clone(), answers.clone(), value.clone());
            workers.spawn(async move {
                loop {
                    let Some(key) = queue.lock().await.recv().await else { return };
                    let began = clock.now();
                    let put = client.call(PutRequest { key, value: value.clone(), ..Default::default() }, None).await;
                    let took = clock.now() - began;
                    // The receiver lives as long as this load.
                    let _ = answers.send(put.map(|_| took.as_secs_f64()).map_err(|error| error.to_string())).await;
                }
            });
        }
        drop(answers);
        let mut report = Report::default();
        let collect = async {
            while let Some(answer) = answered.recv().await {
                match answer {
                    Ok(took) => report.took.push(took),
                    Err(error) => *report.errors.entry(error).or_default() += 1,
                }
                done();
            }
        };
        let began = clock.now();
        tokio::join!(produce(keys), collect);
        report.total = clock.now() - began;
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_what_was_answered() {
        let report = Report { took: vec![0.1, 0.3, 0.2, 0.2], total: Duration::from_secs(2), ..Report::default() };
        assert_eq!((report.per_second(), report.slowest()), (2.0, 0.3));
        assert!((report.deviation() - 0.005_f64.sqrt()).abs() < 1e-9, "{}", report.deviation());
    }

    #[test]
    fn a_key_is_the_prefix_and_as_many_bytes_as_were_wanted() {
        let puts = Puts { prefix: "/p/".into(), key_bytes: 256, value_bytes: 0 };
        let (a, b) = (puts.key(), puts.key());
        assert!(a.len() == 3 + 256 && a.starts_with(b"/p/") && a != b);
    }
}

//! What a start meets that others hold.

use std::net::TcpListener;

use crate::{
    harness::{eventually, ours},
    member::Member,
};

#[tokio::test]
async fn a_second_process_on_a_data_directory_waits_for_the_first() {
    let notes = tempfile::tempdir().expect("a directory");
    let data = notes.path().join("data");
    let mut first = Member::new(&ours(), data.clone(), notes.path(), &[]);
    first.start().await;
    let mut second = Member::new(&ours(), data, notes.path(), &[]);
    second.spawn(&[]);
    eventually("the second says that it waits", async || {
        second.log_text().contains("another etcd process is using this data directory").then_some(())
    })
    .await;
    assert!(second.is_alive() && first.is_alive());
    assert!(first.is_ready().await, "the first goes on");
    first.terminate();
    first.end().await;
    assert!(second.is_ready().await, "the second takes over\n{}", second.log_text());
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_flag_before_anything_is_written() {
    let notes = tempfile::tempdir().expect("a directory");
    let data = notes.path().join("data");
    for flag in ["--listen-peer-urls", "--listen-client-urls", "--listen-metrics-urls"] {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", held.local_addr().expect("bound"));
        let mut member = Member::new(&ours(), data.clone(), notes.path(), &[flag, &url]);
        member.spawn(&[]);
        assert_eq!(member.end().await.code(), Some(1), "{}", member.log_text());
        let errors = member.lines_at("error");
        assert_eq!(errors.len(), 1, "{}", member.log_text());
        for word in [flag, &url, "bind: address already in use"] {
            assert!(errors[0].contains(word), "{word} in {}", errors[0]);
        }
        assert!(!data.exists(), "nothing was written");
    }
}

#[tokio::test]
async fn a_data_directory_that_is_a_file_is_one_line_and_code_1() {
    let notes = tempfile::tempdir().expect("a directory");
    let data = notes.path().join("data");
    std::fs::write(&data, "not a directory").expect("a file");
    let mut member = Member::new(&ours(), data, notes.path(), &[]);
    member.spawn(&[]);
    assert_eq!(member.end().await.code(), Some(1), "{}", member.log_text());
    let errors = member.lines_at("error");
    assert_eq!(errors.len(), 1, "{}", member.log_text());
    assert!(errors[0].contains("cannot use the data directory"), "{}", errors[0]);
}

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom_engine::copy::message::{Answer, Message, Reason};
use strongroom_engine::ports::{Peer, Peers};
use strongroom_model::RegionId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::Session;
use super::{LinkIdentity, Links, serve};
use crate::region_file::RegionFile;
use crate::region_file::tests::region;
use crate::trust::Trust;

/// Answers a chunk with its number, and a status with the name of who asks.
struct Echo {
    peer: Peer,
    answered: Arc<AtomicUsize>,
}

impl Session for Echo {
    async fn answer(self: Arc<Self>, message: Message) -> Answer {
        self.answered.fetch_add(1, Ordering::SeqCst);
        match message {
            Message::Chunk { n, .. } => Answer::Have { n },
            _ => Answer::Retry(Reason::new("echo", self.peer.name.as_str())),
        }
    }
}

struct Side {
    folder: tempfile::TempDir,
    trust: Arc<Trust>,
    file: RegionFile,
}

impl Side {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = LinkIdentity::load_or_make(&folder.path().join("link.key")).unwrap();
        let trust = Arc::new(Trust::new(folder.path().join("peers")));
        let file = RegionFile { link_keys: vec![identity.public_key()], ..region(name) };
        Self { folder, trust, file }
    }

    fn peers(&self) -> &Path {
        self.folder.path()
    }

    fn links(&self) -> Links {
        let identity = LinkIdentity::load_or_make(&self.peers().join("link.key")).unwrap();
        Links::new(identity, self.trust.clone())
    }
}

/// A destination that listens and trusts the source, and the source that trusts it.
async fn pair() -> (Side, Side, Arc<AtomicUsize>) {
    let (source, mut destination) = (Side::new("us-east-1"), Side::new("eu-west-1"));
    destination.trust.add(&source.file).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    destination.file.address = listener.local_addr().unwrap().to_string();
    let answered = Arc::<AtomicUsize>::default();
    let (counter, trust) = (answered.clone(), destination.trust.clone());
    let identity = LinkIdentity::load_or_make(&destination.peers().join("link.key")).unwrap();
    tokio::spawn(async move {
        let session = move |peer| Arc::new(Echo { peer, answered: counter.clone() });
        serve(listener, &identity, trust, session).await.unwrap();
    });
    source.trust.add(&destination.file).unwrap();
    (source, destination, answered)
}

fn status() -> Message {
    Message::Status { version: 1, highest: None }
}

fn chunk(n: u32, bytes: usize) -> Message {
    Message::Chunk { copy_id: "copy-a".into(), n, bytes: vec![7; bytes] }
}

#[tokio::test]
async fn messages_are_answered_side_by_side_and_the_peer_is_known() {
    let (source, destination, _) = pair().await;
    let links = source.links();
    assert_eq!(links.list(), [destination.file.peer()]);
    let connection = links.connect(&destination.file.region_id).await.unwrap();
    assert_eq!(connection.ask(status()).await.unwrap(), Answer::Retry(Reason::new("echo", "us-east-1")));
    let asked = (0..40).map(|n| connection.ask(chunk(n, 100_000)));
    for (n, answer) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), Answer::Have { n: n as u32 });
    }
    let again = links.connect(&destination.file.region_id).await.unwrap();
    assert_eq!(again.number(), connection.number());
}

#[tokio::test]
async fn another_key_is_refused_on_either_side() {
    let (source, destination, answered) = pair().await;
    let stranger = Side::new("us-east-1");
    stranger.trust.add(&destination.file).unwrap();
    let links = stranger.links();
    // TLS 1.3 may let the dialler believe for a moment that it was accepted.
    let refused = match links.connect(&destination.file.region_id).await {
        Ok(connection) => connection.ask(status()).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);

    let impostor = RegionFile { link_keys: stranger.file.link_keys.clone(), ..destination.file.clone() };
    source.trust.add(&impostor).unwrap();
    let Err(down) = source.links().connect(&destination.file.region_id).await else { panic!("connected") };
    assert!(down.0.contains("shows another key"), "{down}");
    assert_eq!(answered.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_peer_that_is_trusted_no_longer_is_cut_off() {
    let (source, destination, answered) = pair().await;
    let links = source.links();
    let connection = links.connect(&destination.file.region_id).await.unwrap();
    connection.ask(status()).await.unwrap();
    std::fs::remove_file(destination.trust.path(&source.file.name)).unwrap();
    assert!(connection.ask(status()).await.is_err());
    assert_eq!(answered.load(Ordering::SeqCst), 1);
    std::fs::remove_file(source.trust.path(&destination.file.name)).unwrap();
    let Err(down) = links.connect(&destination.file.region_id).await else { panic!("connected") };
    assert!(down.0.contains("no file"), "{down}");
    let Err(unknown) = links.connect(&RegionId::new("nobody")).await else { panic!("connected") };
    assert_eq!(unknown, down);
}

#[tokio::test]
async fn an_open_line_ends_with_the_trust_of_its_own_side() {
    let (source, destination, answered) = pair().await;
    let connection = source.links().connect(&destination.file.region_id).await.unwrap();
    connection.ask(status()).await.unwrap();
    std::fs::remove_file(source.trust.path(&destination.file.name)).unwrap();
    let down = connection.ask(status()).await.unwrap_err();
    assert!(down.0.contains("no file"), "{down}");
    source.trust.add(&destination.file).unwrap();
    assert!(connection.ask(status()).await.is_err(), "what was cut stays cut");
    assert_eq!(answered.load(Ordering::SeqCst), 1);
}

/// Forwards connections to `to`, each until `bytes` have gone towards it.
async fn cutting_proxy(to: String, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            let (client_reads, mut client_writes) = client.into_split();
            let (mut server_reads, mut server_writes) = server.into_split();
            let back = tokio::spawn(async move { tokio::io::copy(&mut server_reads, &mut client_writes).await });
            let _ = tokio::io::copy(&mut client_reads.take(bytes), &mut server_writes).await;
            let _ = server_writes.shutdown().await;
            back.abort();
        }
    });
    address
}

#[tokio::test]
async fn a_line_that_is_cut_anywhere_is_told_and_replaced() {
    let (source, destination, _) = pair().await;
    for cut in (0..3_000).step_by(97) {
        let proxy = cutting_proxy(destination.file.address.clone(), cut).await;
        source.trust.add(&RegionFile { address: proxy, ..destination.file.clone() }).unwrap();
        let links = source.links();
        if let Ok(connection) = links.connect(&destination.file.region_id).await {
            assert!(connection.ask(chunk(0, 5_000)).await.is_err(), "cut after {cut} bytes");
            assert!(connection.ask(status()).await.is_err(), "a cut line stays cut");
        }
        source.trust.add(&destination.file).unwrap();
        let connection = links.connect(&destination.file.region_id).await.unwrap();
        assert_eq!(connection.ask(chunk(1, 10)).await.unwrap(), Answer::Have { n: 1 });
    }
}

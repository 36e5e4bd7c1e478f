//! Faults on demand: what was asked to go wrong goes wrong, and nothing else.

use bursar::standin::{Fault, FaultKind, Gate};

use super::*;

impl Replay {
    fn fault(&self, fault: Fault) {
        self.standin.with(|world| world.faults().push(fault));
    }

    /// Sends a lock of an account and gives the raw answer; an error is a cut connection.
    async fn lock(&self, account: CloudId) -> std::io::Result<String> {
        let keys = self.people["admin"].keys.clone().unwrap();
        let form = format!("command=disableAccount&lock=true&id={account}&response=json&apikey={}", keys.0);
        let unsigned = format!("apikey={}&command=disableaccount&id={account}&lock=true&response=json", keys.0);
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(keys.1.expose().as_bytes()).unwrap();
        mac.update(unsigned.to_lowercase().as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let signature: String = url::form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        let url = self.standin.url();
        let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await?;
        let head = format!(
            "GET /client/api?{form}&signature={signature} HTTP/1.1\r\nHost: standin\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    }

    fn is_locked(&self, account: CloudId) -> bool {
        self.standin.with(|world| world.account_state(account) == Some(State::Locked))
    }
}

#[tokio::test]
async fn a_cut_connection_leaves_the_action_done_or_not_as_asked() {
    let replay = Replay::start().await;
    let (alice, bob) = (replay.account("alice"), replay.account("bob"));
    replay.fault(Fault::once("disableAccount", FaultKind::CutBeforeAction));
    replay.lock(alice).await.unwrap_err();
    assert!(!replay.is_locked(alice));
    replay.fault(Fault::once("disableAccount", FaultKind::CutAfterAction));
    replay.lock(bob).await.unwrap_err();
    assert!(replay.is_locked(bob));
    assert!(replay.lock(alice).await.unwrap().contains("jobid"));
}

#[tokio::test]
async fn a_stopped_stand_in_can_not_be_reached() {
    let replay = Replay::start().await;
    let url = replay.standin.url();
    let address = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let mut kept = TcpStream::connect((address.0.as_str(), address.1)).await.unwrap();
    replay.standin.stop().await;
    assert!(TcpStream::connect((address.0.as_str(), address.1)).await.is_err());
    let request = b"GET /client/api?command=listZones HTTP/1.1\r\nHost: standin\r\n\r\n";
    let mut answer = Vec::new();
    // Either the connection is gone already, or it ends without an answer.
    if kept.write_all(request).await.is_ok() {
        let _ = kept.read_to_end(&mut answer).await;
    }
    assert!(answer.is_empty());
}

#[tokio::test]
async fn answers_are_replaced_broken_or_doubled_as_asked() {
    let replay = Replay::start().await;
    let alice = replay.account("alice");
    for (kind, expected, locked) in [
        (FaultKind::Status(503), "HTTP/1.1 503", false),
        (FaultKind::Html, "<html>", false),
        (FaultKind::EmptyOk { acted: false }, "content-length: 0", false),
        (FaultKind::HugeBody(70_000), "content-length: 70", false),
        (FaultKind::EmptyOk { acted: true }, "content-length: 0", true),
        (FaultKind::InvalidJson, "HTTP/1.1 200", true),
    ] {
        replay.fault(Fault::any(1, kind.clone()));
        let answer = replay.lock(alice).await.unwrap();
        assert!(answer.contains(expected), "{kind:?}: {answer:.300}");
        assert_eq!(replay.is_locked(alice), locked, "{kind:?}");
    }
    assert_eq!(replay.standin.with(|world| world.faults().waiting()), 0);
}

#[tokio::test]
async fn a_call_held_at_a_gate_happens_once_it_opens_even_if_its_caller_has_gone() {
    let replay = Arc::new(Replay::start().await);
    let alice = replay.account("alice");
    let gate = Gate::default();
    replay.fault(Fault::once("disableAccount", FaultKind::DelayUntil(gate.clone())));
    let caller = tokio::spawn({
        let replay = Arc::clone(&replay);
        async move { replay.lock(alice).await }
    });
    while replay.standin.with(|world| world.faults().waiting()) > 0 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(!replay.is_locked(alice));
    gate.open();
    while !replay.is_locked(alice) {
        tokio::task::yield_now().await;
    }
}

//! A small mail server on loopback: the protocol is mailin's, connections and encryption are here. It keeps what it takes, and
//! answers as a story says.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mailin::{Action, AuthMechanism, Handler, Response, Session, SessionBuilder};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// No answer of a story takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mail as it was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Who sent it, by the envelope.
    pub from: String,
    /// To whom, by the envelope.
    pub to: String,
    /// Headers and body.
    pub text: String,
}

impl Taken {
    /// A header's value, with its folded lines joined.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ").replace("\r\n\t", " ");
        let wanted = format!("{}:", name.to_lowercase());
        let found: Vec<&str> = head.split("\r\n").filter(|line| line.to_lowercase().starts_with(&wanted)).collect();
        assert!(found.len() <= 1, "{name} stands twice in {head}");
        found.first().map(|line| line[wanted.len()..].trim().to_owned())
    }

    /// The names of its headers.
    pub fn header_names(&self) -> Vec<String> {
        let head = self.text.split("\r\n\r\n").next().unwrap();
        let starts = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        starts.map(|line| line.split(':').next().unwrap().to_owned()).collect()
    }

    /// A part of it, decoded.
    pub fn part(&self, kind: &str) -> String {
        let begin =
            self.text.find(&format!("Content-Type: {kind}")).unwrap_or_else(|| panic!("no {kind}: {}", self.text));
        let (head, rest) = self.text[begin..].split_once("\r\n\r\n").unwrap();
        let body = rest.split("\r\n--=_").next().unwrap();
        if head.contains("quoted-printable") {
            return unquoted(body);
        }
        assert!(head.contains("7bit"), "{head}");
        body.to_owned()
    }
}

fn unquoted(body: &str) -> String {
    let mut bytes = Vec::new();
    let joined = body.replace("=\r\n", "");
    let mut letters = joined.bytes();
    while let Some(byte) = letters.next() {
        if byte == b'=' {
            let hex: String = [letters.next().unwrap(), letters.next().unwrap()].map(char::from).iter().collect();
            bytes.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What the server does, and what it saw.
#[derive(Debug, Default)]
pub struct Script {
    /// Mails in the order in which they were taken.
    pub taken: Vec<Taken>,
    /// What is answered to the name of a recipient, instead of yes.
    pub recipients: BTreeMap<String, (u16, String)>,
    /// What is answered to a sender, instead of yes.
    pub sender: Option<(u16, String)>,
    /// Who may sign in; None: nobody has to.
    pub sign_in: Option<(String, String)>,
    /// So many mails are taken without telling: the connection ends instead of the answer.
    pub silent: u32,
    /// How long the answer to a mail takes.
    pub thinking: Duration,
    /// While true, no mail is answered.
    pub hold: bool,
    /// Connections that were made.
    pub connections: u32,
    /// Commands that came, without mails.
    pub commands: Vec<String>,
    hang_up: bool,
}

type Shared = Arc<Mutex<Script>>;

#[derive(Clone)]
struct Desk {
    script: Shared,
    from: String,
    to: String,
    text: Vec<u8>,
    signed_in: bool,
}

fn custom(answer: &(u16, String)) -> Response {
    Response::custom(answer.0, answer.1.clone())
}

impl Handler for Desk {
    fn mail(&mut self, _: IpAddr, _: &str, from: &str) -> Response {
        let script = self.script.lock().unwrap();
        if script.sign_in.is_some() && !self.signed_in {
            return mailin::response::AUTHENTICATION_REQUIRED;
        }
        if let Some(answer) = &script.sender {
            return custom(answer);
        }
        drop(script);
        from.clone_into(&mut self.from);
        mailin::response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        if let Some(answer) = self.script.lock().unwrap().recipients.get(to) {
            return custom(answer);
        }
        to.clone_into(&mut self.to);
        self.text.clear();
        mailin::response::OK
    }

    fn data(&mut self, line: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let thinking = self.script.lock().unwrap().thinking;
        std::thread::sleep(thinking);
        while self.script.lock().unwrap().hold {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut script = self.script.lock().unwrap();
        let text = String::from_utf8(std::mem::take(&mut self.text)).unwrap();
        script.taken.push(Taken { from: self.from.clone(), to: self.to.clone(), text });
        if script.silent > 0 {
            script.silent -= 1;
            script.hang_up = true;
        }
        Response::custom(250, format!("2.0.0 Ok: queued as {}", script.taken.len()))
    }

    fn auth_plain(&mut self, _: &str, username: &str, password: &str) -> Response {
        let right = (username.to_owned(), password.to_owned());
        self.signed_in = self.script.lock().unwrap().sign_in.as_ref() == Some(&right);
        if self.signed_in { mailin::response::AUTH_OK } else { mailin::response::INVALID_CREDENTIALS }
    }
}

/// How the server is reached.
#[derive(Clone)]
pub enum Way {
    /// Plain text.
    Plain,
    /// Encrypted before anything is said.
    StartTls(Arc<ServerConfig>),
    /// Encrypted from the first byte.
    Tls(Arc<ServerConfig>),
}

/// A running mail server; it ends with the story.
pub struct MailServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it does and saw.
    pub script: Shared,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    way: Way,
}

impl MailServer {
    /// A server in plain text.
    pub fn start() -> Self {
        Self::start_by(Way::Plain)
    }

    /// A server reached in a certain way.
    pub fn start_by(way: Way) -> Self {
        Self::listen(way, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Shared::default())
    }

    /// A server at an address of its own, whose port nobody takes while it is down.
    pub fn start_apart() -> Self {
        Self::listen(Way::Plain, SocketAddr::from((Ipv4Addr::new(127, 88, 5, 1), 0)), Shared::default())
    }

    fn listen(way: Way, address: SocketAddr, script: Shared) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, shared, by) = (Arc::clone(&stop), Arc::clone(&script), way.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, by) = (Arc::clone(&shared), by.clone());
                shared.lock().unwrap().connections += 1;
                // A client that hangs up is its own affair.
                std::thread::spawn(move || drop(attend(stream.unwrap(), &by, &shared)));
            }
        });
        Self { address, script, stop, thread: Some(thread), way }
    }

    /// Whether it is reached encrypted, under the name in its certificate.
    pub fn is_encrypted(&self) -> bool {
        !matches!(self.way, Way::Plain)
    }

    /// Takes no connections any more.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the one that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Comes up again at the same address, with what it took before.
    pub fn come_back(&mut self) {
        *self = Self::listen(self.way.clone(), self.address, Arc::clone(&self.script));
    }

    /// Changes what it does.
    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// What it took.
    pub fn taken(&self) -> Vec<Taken> {
        self.script.lock().unwrap().taken.clone()
    }

    /// To whom it took mails, in order, with the subjects.
    pub fn subjects(&self) -> Vec<String> {
        self.taken().iter().map(|mail| format!("{}: {}", mail.to, mail.header("Subject").unwrap())).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn attend(stream: TcpStream, way: &Way, script: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let desk =
        Desk { script: Arc::clone(script), from: String::new(), to: String::new(), text: Vec::new(), signed_in: false };
    let mut builder = SessionBuilder::new("mail.example.com");
    if script.lock().unwrap().sign_in.is_some() {
        builder.enable_auth(AuthMechanism::Plain);
    }
    if matches!(way, Way::StartTls(_)) {
        builder.enable_start_tls();
    }
    let mut session = builder.build(stream.peer_addr()?.ip(), desk);
    let encrypted = |config: &Arc<ServerConfig>, stream: TcpStream| {
        StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
    };
    match way {
        Way::Tls(config) => {
            session.tls_active();
            let mut stream = BufReader::new(encrypted(config, stream));
            write(stream.get_mut(), &session.greeting())?;
            talk(&mut session, &mut stream, script).map(|_| ())
        }
        Way::Plain | Way::StartTls(_) => {
            let mut plain = BufReader::new(stream);
            write(plain.get_mut(), &session.greeting())?;
            let upgrade = talk(&mut session, &mut plain, script)?;
            if let (true, Way::StartTls(config)) = (upgrade, way) {
                session.tls_active();
                let mut stream = BufReader::new(encrypted(config, plain.into_inner()));
                talk(&mut session, &mut stream, script)?;
            }
            Ok(())
        }
    }
}

/// Talks until the connection ends, or is to be encrypted: true.
fn talk<S: Read + Write>(session: &mut Session<Desk>, stream: &mut BufReader<S>, script: &Shared) -> io::Result<bool> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        let response = session.process(&line);
        if response.action != Action::NoReply {
            let command = String::from_utf8_lossy(&line).trim().to_owned();
            script.lock().unwrap().commands.push(command);
        }
        if std::mem::take(&mut script.lock().unwrap().hang_up) {
            return Ok(false);
        }
        match response.action {
            Action::NoReply => {}
            Action::Reply => write(stream.get_mut(), &response)?,
            Action::Close => {
                write(stream.get_mut(), &response)?;
                return Ok(false);
            }
            Action::UpgradeTls => {
                write(stream.get_mut(), &response)?;
                return Ok(true);
            }
        }
    }
}

fn write(stream: &mut impl Write, response: &Response) -> io::Result<()> {
    let mut bytes = Vec::new();
    response.write_to(&mut bytes)?;
    stream.write_all(&bytes)?;
    stream.flush()
}

/// A certificate authority of a story's own: its certificate as a file, and a server's settings under it.
pub fn authority(folder: &Path, name: &str) -> (PathBuf, Arc<ServerConfig>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&key).unwrap();
    let file = folder.join(format!("{name}.pem"));
    std::fs::write(&file, certificate.pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![server.der().clone()];
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    (file, Arc::new(config))
}

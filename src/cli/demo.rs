//! `keyweir demo`: a whole installation without configuration, keys or provider.
//!
//! The mock provider, a pool whose keys behave well and badly, and the server itself, on the first free ports. It prints
//! what a newcomer would type next.

use std::fs::{self, DirBuilder};
use std::io::{Write, stdout};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use super::DemoArgs;
use crate::config::{self, Secret};
use crate::mock::Mock;
use crate::server;
use crate::telemetry::logger;

const POOL: &str = "demo";
const PORT_BASE: u16 = 8080;
/// The mock's behaviour follows the prefix: most keys work, the others fail in every way a pool must survive.
const KEYS: &[&str] =
    &["sk-ok-1", "sk-429-1", "sk-ok-2", "sk-401-1", "sk-ok-3", "sk-500-1", "sk-ok-4", "sk-quota-1", "sk-flaky-2-1"];

pub(crate) fn execute(args: DemoArgs) -> anyhow::Result<()> {
    let places = Places::choose(&args)?;
    let provider = start_mock()?;
    let (client, admin) = (Secret::generate("kw-")?, Secret::generate("kwa-")?);
    let folder = Folder::make()?;
    let path = folder.fill(&places, provider, &client, &admin)?;
    let loaded = config::load(&path)?;
    logger::init(&loaded.config.log)?;
    let guide = guide(&places, &client, &admin);
    thread::spawn(move || {
        let begun = (0..1000).any(|_| {
            thread::park_timeout(Duration::from_millis(5));
            TcpStream::connect(server::reachable(places.proxy)).is_ok()
        });
        // Without a reader of stdout the demo still serves.
        let _unread = if begun { stdout().write_all(guide.as_bytes()) } else { Ok(()) };
    });
    server::run(loaded, path)?;
    Ok(())
}

/// The addresses in use.
#[derive(Clone, Copy)]
struct Places {
    proxy: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
}

impl Places {
    /// The wanted addresses, each moved to the next free port.
    fn choose(args: &DemoArgs) -> anyhow::Result<Self> {
        let base = args.port_base.unwrap_or(PORT_BASE);
        let wanted = args.listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), base));
        let proxy = free_from(wanted)?;
        let first_admin =
            args.port_base.map_or(wanted.port(), |base| base).saturating_add(1).max(proxy.port().saturating_add(1));
        let admin = free_from(SocketAddr::new(wanted.ip(), first_admin))?;
        let metrics = free_from(SocketAddr::new(wanted.ip(), admin.port().saturating_add(1)))?;
        Ok(Self { proxy, admin, metrics })
    }
}

/// The address itself or, where its port is taken, the next free one.
fn free_from(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    for port in address.port()..=u16::MAX {
        match TcpListener::bind((address.ip(), port)) {
            Ok(listener) => return Ok(listener.local_addr()?),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("can't listen on {}:{port}", address.ip())),
        }
    }
    bail!("no free port from {address} on");
}

/// Runs the mock provider in a thread of its own, for as long as the process lives.
fn start_mock() -> anyhow::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mock = {
        let _entered = runtime.enter();
        Mock::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?
    };
    let address = mock.local_addr();
    thread::spawn(move || runtime.block_on(mock.serve(std::future::pending::<()>())));
    Ok(address)
}

/// A folder of the demo's own. It stays behind, as small as it is, for the server ends the process itself.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("keyweir-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Writes a configuration and its keys, as a user would; tells where.
    fn fill(&self, places: &Places, provider: SocketAddr, client: &Secret, admin: &Secret) -> anyhow::Result<PathBuf> {
        let Places { proxy, admin: admin_address, metrics } = places;
        let (folder, client, admin) = (self.0.display(), client.expose(), admin.expose());
        let text = format!(
            "server:\n\
             \x20 proxy: {{listen: [\"{proxy}\"]}}\n\
             \x20 admin: {{listen: \"{admin_address}\", token: \"{admin}\", plaintext: true}}\n\
             \x20 metrics: {{listen: \"{metrics}\"}}\n\
             \x20 shutdown: {{grace: 5s}}\n\
             log: {{format: text}}\n\
             store: {{url: \"sqlite://{folder}/keyweir.db\"}}\n\
             clients: {{tokens: [{{name: {POOL}, token: \"{client}\", reveal_key: true}}]}}\n\
             pools:\n\
             \x20 {POOL}: {{targets: [{{url: \"http://{provider}/v1\"}}]}}\n"
        );
        let key = |key: &&str| format!("  - {{key: {key}, name: {}}}\n", key.trim_start_matches("sk-"));
        let path = self.0.join("keyweir.yaml");
        fs::write(&path, text)?;
        fs::write(self.0.join("keys.yaml"), format!("{POOL}:\n{}", KEYS.iter().map(key).collect::<String>()))?;
        Ok(path)
    }
}

fn guide(places: &Places, client: &Secret, admin: &Secret) -> String {
    let (client, admin_token) = (client.expose(), admin.expose());
    let (proxy, admin, metrics) =
        (server::reachable(places.proxy), server::reachable(places.admin), server::reachable(places.metrics));
    format!(
        "
keyweir is running with a mock provider and {count} keys, some of them bad.

Ask for a chat completion:

curl http://{proxy}/v1/chat/completions -H 'Authorization: Bearer {client}' -H 'Content-Type: application/json' -d '{{\"model\":\"demo\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

The same, streamed:

curl -N http://{proxy}/v1/chat/completions -H 'Authorization: Bearer {client}' -H 'Content-Type: application/json' -d '{{\"model\":\"demo\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

The keys, as the pool sees them:

curl http://{admin}/stats -H 'Authorization: Bearer {admin_token}'

Client token: {client}
Admin:        http://{admin}/  token: {admin_token}
Metrics:      http://{metrics}/metrics

Ctrl-C ends it.

",
        count = KEYS.len(),
    )
}

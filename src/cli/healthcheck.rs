//! `keyweir healthcheck`: whether the server of a configuration is ready, for container images without a shell.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail};

use super::HealthcheckArgs;
use crate::config::{self, Address};
use crate::server::reachable;

const PATIENCE: Duration = Duration::from_secs(3);
const REQUEST: &[u8] = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n";

pub(crate) fn execute(args: HealthcheckArgs) -> anyhow::Result<()> {
    let listen = config::load(&args.file.config)?.config.server.admin.listen;
    if listen.tls.is_some() {
        bail!("the admin listener uses TLS; ask /readyz with curl instead");
    }
    let answer = match &listen.address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), PATIENCE).context("the server is not up")?;
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(stream)?
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).context("the server is not up")?;
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(stream)?
        }
    };
    match answer.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some(status) => bail!("the server is not ready (status {status})"),
        None => bail!("the server's answer is not HTTP"),
    }
}

fn ask(mut stream: impl Read + Write) -> anyhow::Result<String> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

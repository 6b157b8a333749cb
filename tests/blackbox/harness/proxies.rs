//! Real programs from Debian between keyweir and the provider: proxies and a name server.

use std::fmt::Display;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use super::eventually;
use super::server::{free_address, new_directory};

/// A program that ends with the test.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    dir: PathBuf,
}

impl Program {
    /// Starts it and waits until it listens.
    fn start(name: &str, address: SocketAddr, dir: PathBuf, args: &[&str]) -> Self {
        // Debian keeps some of them where only root looks.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let log = || Stdio::from(fs::File::options().create(true).append(true).open(dir.join("log")).unwrap());
        let child = Command::new(name).args(args).env("PATH", path).stdout(log()).stderr(log()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name}: {error}; scripts/deps.sh test installs it"));
        let program = Self { child, address, dir };
        eventually(name, || TcpStream::connect(address).is_ok());
        program
    }

    /// Debian's tinyproxy. `login` is user and password; it tunnels to any port.
    pub(crate) fn tinyproxy(login: Option<(&str, &str)>) -> Self {
        Self::tinyproxy_at(free_address(), login)
    }

    /// The same at an address.
    pub(crate) fn tinyproxy_at(address: SocketAddr, login: Option<(&str, &str)>) -> Self {
        let dir = new_directory();
        let login = login.map(|(user, password)| format!("BasicAuth {user} {password}\n")).unwrap_or_default();
        let text = format!("Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\n{login}", address.port());
        let file = dir.join("tinyproxy.conf");
        fs::write(&file, text).unwrap();
        Self::start("tinyproxy", address, dir, &["-d", "-c", &file.display().to_string()])
    }

    /// Debian's microsocks.
    pub(crate) fn microsocks(login: Option<(&str, &str)>) -> Self {
        let address = free_address();
        let port = address.port().to_string();
        let mut args = vec!["-i", "127.0.0.1", "-p", &port];
        if let Some((user, password)) = login {
            args.extend(["-u", user, "-P", password]);
        }
        Self::start("microsocks", address, new_directory(), &args)
    }

    /// Debian's dnsmasq, which knows these hosts: name and address.
    pub(crate) fn dnsmasq(hosts: &[(&str, &str)]) -> Self {
        Self::dnsmasq_at(free_address(), hosts)
    }

    /// The same at an address.
    pub(crate) fn dnsmasq_at(address: SocketAddr, hosts: &[(&str, &str)]) -> Self {
        let port = format!("--port={}", address.port());
        let records: Vec<_> = hosts.iter().map(|(name, ip)| format!("--host-record={name},{ip},1")).collect();
        let fixed = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"];
        let local = ["--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/", "--pid-file=", &port];
        let args: Vec<_> = fixed.into_iter().chain(local).chain(records.iter().map(String::as_str)).collect();
        Self::start("dnsmasq", address, new_directory(), &args)
    }

    /// The proxy's URL.
    pub(crate) fn url(&self, scheme: impl Display) -> String {
        format!("{scheme}{}", self.address)
    }

    /// Ends it, so that its address is free again.
    pub(crate) fn stop(mut self) -> SocketAddr {
        self.kill();
        self.address
    }

    fn kill(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- {}", fs::read_to_string(self.dir.join("log")).unwrap_or_default());
        }
        // Left behind, a directory is only untidy.
        let _removed = fs::remove_dir_all(&self.dir);
    }
}

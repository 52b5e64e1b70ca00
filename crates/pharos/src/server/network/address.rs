//! Under which address other nodes reach this one.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

use crate::cli::{ClusterArgs, ListenAddress};

/// The given address, else that of the listener, else that of this machine on the way to one of those to join.
pub(super) fn advertised(args: &ClusterArgs, listen: &ListenAddress) -> Result<String, String> {
    if let Some(given) = &args.advertise_address {
        return Ok(given.clone());
    }
    let is_everywhere = listen.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if !is_everywhere {
        return Ok(listen.to_string());
    }
    let found = args.join.iter().find_map(|other| way_to(other)).or_else(|| way_to("192.0.2.1:9"));
    match found {
        Some(ip) => Ok(ListenAddress { host: ip.to_string(), port: listen.port }.to_string()),
        None => Err("this machine's address for other nodes is not plain: give --cluster.advertise-address".into()),
    }
}

/// The address from which this machine would talk to another. Nothing is sent.
fn way_to(other: &str) -> Option<IpAddr> {
    let other = other.to_socket_addrs().ok()?.next()?;
    let any = if other.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(other).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        cluster: ClusterArgs,
    }

    fn address(flags: &[&str], listen: &str) -> String {
        let flags = Flags::parse_from(["pharos"].iter().chain(flags));
        advertised(&flags.cluster, &listen.parse().unwrap()).unwrap()
    }

    #[test]
    fn what_is_given_goes_before_what_is_bound_and_what_is_found() {
        assert_eq!(address(&["--cluster.advertise-address=n1:7000"], "0.0.0.0:7946"), "n1:7000");
        assert_eq!(address(&[], "10.1.2.3:7946"), "10.1.2.3:7946");
        assert_eq!(address(&["--join=127.0.0.1:7001"], "0.0.0.0:7946"), "127.0.0.1:7946");
    }
}

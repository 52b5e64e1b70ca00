//! The address that a node advertises to others.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

use crate::cli::ListenAddress;

/// The configured address, or else the listener's, or else this machine's address on the route to one of the others.
pub(crate) fn advertised(given: Option<&str>, others: &[String], listen: &ListenAddress) -> Result<String, String> {
    if let Some(given) = given {
        return Ok(given.to_string());
    }
    let is_everywhere = listen.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if !is_everywhere {
        return Ok(listen.to_string());
    }
    let found =
        others.iter().find_map(|other| local_address_towards(other)).or_else(|| local_address_towards("192.0.2.1:9"));
    match found {
        Some(ip) => Ok(ListenAddress { host: ip.to_string(), port: listen.port }.to_string()),
        None => Err("cannot determine this machine's address for other nodes: set --cluster.advertise-address".into()),
    }
}

/// The local address of the route to another machine. Sends nothing.
fn local_address_towards(other: &str) -> Option<IpAddr> {
    let other = other.to_socket_addrs().ok()?.next()?;
    let any = if other.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(other).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(given: Option<&str>, others: &[&str], listen: &str) -> String {
        let others: Vec<String> = others.iter().map(ToString::to_string).collect();
        advertised(given, &others, &listen.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_configured_address_wins_over_the_listener_and_the_route() {
        assert_eq!(address(Some("n1:7000"), &[], "0.0.0.0:7946"), "n1:7000");
        assert_eq!(address(None, &[], "10.1.2.3:7946"), "10.1.2.3:7946");
        assert_eq!(address(None, &["127.0.0.1:7001"], "0.0.0.0:7946"), "127.0.0.1:7946");
    }
}

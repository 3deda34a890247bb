//! Servers in the pod's network namespace that must outlive trined: DHCP answers and port-forward.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpStream};

use trine_wire::{Message, shim};

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::host::forward::Forwarder;
use crate::host::sys::reset_on_close;
use crate::host::{dhcp, dhcp6};
use crate::reactor::{READ, Token, Watch};
use crate::shim::Shim;

#[derive(Default)]
pub struct NetServers {
    /// By number, with the tap's name.
    dhcp: BTreeMap<u32, (String, dhcp::Server, Watch)>,
    dhcp6: BTreeMap<u32, (String, dhcp6::Server, Watch)>,
    forward: Option<(Forwarder, Watch)>,
    /// Port-forward is the guest's whether its link is open or not.
    through_guest: bool,
}

impl NetServers {
    pub fn dhcp_ready(&mut self, number: u32) {
        if let Some((_, server, _)) = self.dhcp.get_mut(&number) {
            server.on_readable();
        }
        if let Some((_, server, _)) = self.dhcp6.get_mut(&number) {
            server.on_readable();
        }
    }

    /// Connections for the guest, and the addresses at which a service in it may take them: its localhost, which
    /// is what was meant, then what it has where its agent is not needed.
    fn forward_ready(&mut self, has_agent: bool) -> (Vec<(TcpStream, u16)>, String) {
        let Some((forwarder, _)) = &mut self.forward else {
            return Default::default();
        };
        forwarder.set_through_guest(self.through_guest || has_agent);
        forwarder.on_ready();
        let addresses = match self.through_guest {
            true => "127.0.0.1,::1".to_owned(),
            false => format!("127.0.0.1,::1,{}", forwarder.target()),
        };
        (forwarder.take_for_guest(), addresses)
    }

    /// One that was given out for the guest, where nobody answers.
    pub fn forward_past_guest(&mut self, client: TcpStream) {
        match &mut self.forward {
            Some((forwarder, _)) if !self.through_guest => forwarder.carry_to_target(client),
            _ => reset_on_close(&client),
        }
    }
}

impl Shim {
    pub fn serve_dhcp(&mut self, payload: &[u8]) -> Answer {
        let request: shim::ServeDhcpRequest = decode(payload)?;
        let tap = request.tap.clone();
        let config = dhcp::Config::parse(&dhcp_request(request))?;
        let servers = &mut self.keeper.net.dhcp;
        if let Some((_, server, _)) = servers.values_mut().find(|(known, _, _)| *known == tap) {
            server.set_config(config)?;
            return Ok(empty());
        }
        let server = dhcp::Server::open(config)?;
        let number = self.number();
        let mut watch = Watch::new(Token::Dhcp(number));
        watch.set(&self.reactor, &server.fd(), READ);
        self.keeper.net.dhcp.insert(number, (tap, server, watch));
        Ok(empty())
    }

    pub fn serve_dhcp6(&mut self, payload: &[u8]) -> Answer {
        let request: shim::ServeDhcp6Request = decode(payload)?;
        let tap = request.tap.clone();
        let config = dhcp6::Config::parse(&dhcp6_request(request))?;
        let servers = &mut self.keeper.net.dhcp6;
        if let Some((_, server, _)) = servers.values_mut().find(|(known, _, _)| *known == tap) {
            server.set_config(config)?;
            return Ok(empty());
        }
        let server = dhcp6::Server::open(config)?;
        let number = self.number();
        let mut watch = Watch::new(Token::Dhcp(number));
        watch.set(&self.reactor, &server.fd(), READ);
        self.keeper.net.dhcp6.insert(number, (tap, server, watch));
        Ok(empty())
    }

    pub fn forward_ready(&mut self) {
        let has_agent = self.has_free_guest();
        let (clients, addresses) = self.keeper.net.forward_ready(has_agent);
        for (client, port) in clients {
            if self.is_port_of_container(port) {
                reset_on_close(&client);
                continue;
            }
            self.forward_to_guest(client, &format!("tcp/{addresses}/{port}"));
        }
    }

    /// Again with another target keeps the port: the redirect rule names it.
    pub fn serve_forward(&mut self, payload: &[u8]) -> Answer {
        let request: shim::ServeForwardRequest = decode(payload)?;
        let source = match request.source.as_str() {
            "" => None,
            text => Some(ip(text)?),
        };
        let target = match request.through_guest {
            true => Ipv4Addr::LOCALHOST.into(),
            false => ip(&request.target)?,
        };
        let port = if let Some((forwarder, _)) = &mut self.keeper.net.forward {
            forwarder.set_target(target, source)?;
            forwarder.port()
        } else {
            let forwarder = Forwarder::new(target, source)?;
            let mut watch = Watch::new(Token::Forward);
            watch.set(&self.reactor, &forwarder.fd(), READ);
            let port = forwarder.port();
            self.keeper.net.forward = Some((forwarder, watch));
            port
        };
        self.keeper.net.through_guest = request.through_guest;
        let port = u32::from(port);
        Ok(shim::ServeForwardResponse { port }.encode_to_vec())
    }
}

fn dhcp_request(request: shim::ServeDhcpRequest) -> dhcp::Request {
    let routes = request
        .routes
        .into_iter()
        .map(|route| (route.destination, route.via));
    dhcp::Request {
        tap: request.tap,
        client_mac: request.client_mac,
        address: request.address,
        prefix: request.prefix,
        server: request.server,
        router: request.router,
        mtu: request.mtu,
        hostname: request.hostname,
        dns: request.dns,
        search: request.search,
        routes: routes.collect(),
        lease_seconds: request.lease_seconds,
    }
}

fn dhcp6_request(request: shim::ServeDhcp6Request) -> dhcp6::Request {
    dhcp6::Request {
        tap: request.tap,
        client_mac: request.client_mac,
        address: request.address,
        prefix: request.prefix,
        router: request.router,
        router_mac: request.router_mac,
        is_default: request.is_default,
        mtu: request.mtu,
        dns: request.dns,
        search: request.search,
    }
}

fn ip(text: &str) -> Result<IpAddr, Failure> {
    text.parse()
        .map_err(|_| failure(Code::InvalidArgument, format!("{text:?} is no IP address")))
}

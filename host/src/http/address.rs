//! What kind of place an IP address is, so that nobody is talked into asking the wrong one.
//!
//! The ranges are those of the IANA special-purpose registries (RFC 6890), and the addresses at which clouds
//! serve the credentials of a machine. Whatever is not known to be public is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who may be found at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Anybody's server in the internet.
    Public,
    /// This machine or the network around it: only for those whom an admin let in by name.
    Private,
    /// Nothing that anybody should be let into: credentials of clouds, groups, tunnels, reserved numbers.
    Forbidden,
}

impl Place {
    /// The place an address stands for, also when it is an IPv4 address in the clothes of an IPv6 one.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        // Clouds' metadata where it hides among other addresses: Alibaba, Azure.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Place::Forbidden,
        // Our own network; link-local with everybody's metadata; IETF protocols with Oracle's; documentation;
        // relays of 6to4; groups; reserved and broadcast.
        [0, ..]
        | [169, 254, ..]
        | [192, 0, 0, _]
        | [192, 0, 2, _]
        | [192, 88, 99, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [224..=255, ..] => Place::Forbidden,
        // Private use; carriers' NAT; loopback; benchmarks.
        [10, ..]
        | [100, 64..=127, ..]
        | [127, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [198, 18..=19, ..] => Place::Private,
        _ => Place::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Place {
    let last = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Private,
        // IPv4-mapped: the kernel connects to the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] => last(high, low),
        // NAT64 (RFC 6052): the gateway does. The well-known prefix must not stand for anything private.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => match last(high, low) {
            Place::Public => Place::Public,
            Place::Private | Place::Forbidden => Place::Forbidden,
        },
        // NAT64 of a site (RFC 8215); where the IPv4 address stands is the site's own affair.
        [0x64, 0xff9b, 1, _, _, _, high, low] => Place::Private.max(last(high, low)),
        // Clouds' metadata among the unique-local addresses: Amazon, Google.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => {
            Place::Forbidden
        }
        // Unique-local.
        [0xfc00..=0xfdff, ..] => Place::Private,
        // IETF protocols with Teredo, documentation, 6to4.
        [0x2001, 0..=0x01ff, ..]
        | [0x2001, 0x0db8, ..]
        | [0x2002, ..]
        | [0x3fff, 0..=0x0fff, ..] => Place::Forbidden,
        // Global unicast, unless it is ISATAP with an IPv4 address at its end (RFC 5214).
        [0x2000..=0x3fff, _, _, _, 0 | 0x0200, 0x5efe, high, low] => last(high, low),
        [0x2000..=0x3fff, ..] => Place::Public,
        // Unspecified, IPv4-compatible, discard, segment routing, link-local, site-local, groups, unassigned.
        _ => Place::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: Place, addresses: &str) {
        for address in addresses.split_whitespace() {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(Place::of(parsed), place, "{address}");
        }
    }

    #[test]
    fn servers_in_the_internet_are_public() {
        check(
            Place::Public,
            "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 \
             169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 \
             198.20.0.0 223.255.255.255 2606:4700::1111 2001:4860:4860::8888 2a00:1450::1 3ffe::1",
        );
    }

    #[test]
    fn this_machine_and_its_network_are_private() {
        check(
            Place::Private,
            "127.0.0.1 127.255.255.255 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 \
             198.18.0.1 ::1 fc00::1 fdff:ffff::1",
        );
    }

    #[test]
    fn credentials_groups_and_reserved_numbers_are_forbidden() {
        check(
            Place::Forbidden,
            "169.254.169.254 169.254.0.1 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 fd20:ce::254 \
             0.0.0.0 0.1.2.3 192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.255 240.0.0.1 \
             255.255.255.255 :: fe80::1 fec0::1 ff02::1 100::1 2001:db8::1 3fff::1 5f00::1 2001::1 4000::1",
        );
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_what_it_stands_for() {
        check(Place::Public, "::ffff:8.8.8.8 64:ff9b::8.8.8.8 2a00::5efe:8.8.8.8");
        check(
            Place::Private,
            "::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b:1::8.8.8.8 64:ff9b:1::10.0.0.1 2a00::5efe:10.0.0.1",
        );
        check(
            Place::Forbidden,
            "::ffff:169.254.169.254 ::ffff:0.0.0.0 ::169.254.169.254 ::8.8.8.8 ::ffff:0:169.254.169.254 \
             64:ff9b::169.254.169.254 64:ff9b::10.0.0.1 64:ff9b::127.0.0.1 64:ff9b:1::169.254.169.254 \
             2002:a9fe:a9fe::1 2002:808:808::1 2001:0:a9fe:a9fe::1 2a00::200:5efe:169.254.169.254",
        );
    }
}

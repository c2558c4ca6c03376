"""Whether a server can be reached from other machines."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine alone; of names, only localhost is."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

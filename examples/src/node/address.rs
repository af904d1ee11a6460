//! The service address: real, on an interface of this node's own network; or one of 127.0.0.0/8.

use super::{ADDRESS, GROUP, NodeSettings};
use ha_vip::{Loopback, VirtualIp};
use std::error::Error;
use std::sync::Arc;

/// What waiting clients hear when the address goes to the other node.
const FAREWELL: &str = "421 4.3.2 the service moves to the other node\r\n";

/// The resource that brings it here and takes it away. A real one is announced, expires in the kernel, and is in the
/// guardian's undo list while it is here.
pub(super) fn open(settings: &NodeSettings) -> Result<VirtualIp, Box<dyn Error>> {
    let Some(spec) = &settings.interface else {
        let backend = Arc::new(Loopback::new().with_farewell(FAREWELL));
        return Ok(VirtualIp::new(ADDRESS, settings.service.ip(), backend)?);
    };
    let group = settings.config.groups.iter().find(|group| group.name == GROUP);
    let lifetime = group.ok_or("there is no group of that name")?.address_lifetime;
    let builder = VirtualIp::linux(ADDRESS, vec![spec.parse()?]).lifetime(lifetime);
    Ok(builder.with_farewell(FAREWELL).build()?)
}

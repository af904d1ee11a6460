//! An address on the loopback backend passes the checks that every resource must pass.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails the test")]

use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::engine::Health;
use ha_core::testkit::resource::ResourceTest;
use ha_vip::{AcceptSource, Loopback, VirtualIp};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// The address with a port behind it, as a service would have it: without one nothing would be left to see.
struct Behind {
    address: VirtualIp,
    _source: AcceptSource,
}

#[async_trait::async_trait]
impl Resource for Behind {
    fn name(&self) -> &str {
        self.address.name()
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.address.start(ctx).await
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.address.stop(ctx).await
    }

    async fn monitor(&self, ctx: &Ctx) -> Health {
        self.address.monitor(ctx).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_passes_the_kit() {
    let at: SocketAddr = TcpListener::bind("127.0.0.12:0").unwrap().local_addr().unwrap();
    let make = || -> Arc<dyn Resource> {
        let address = VirtualIp::new("address", at.ip(), Arc::new(Loopback::new())).unwrap();
        let source = address.accept_source(at.port()).unwrap();
        Arc::new(Behind { address, _source: source })
    };
    let answers = || TcpStream::connect(at).is_ok().then(|| format!("{at} answers")).into_iter().collect();
    let report = ResourceTest::new(make).left_behind(answers).run().await;
    let report = report.map_err(|failed| failed.to_string()).unwrap();
    assert_eq!(report.passed.len(), 10, "{report}");
}

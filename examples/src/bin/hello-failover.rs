//! A pair in one process: the active machine loses its power, and the other one takes over with proof.
use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::{NodeId, engine::Predecessor, runtime::Node, wire::PairKey};
use ha_examples::hello::{Machine, ask, udp_path};
use std::time::{Duration, Instant};
use std::{error::Error, sync::Arc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ms = Duration::from_millis;
    let mut config = Config::pair("hello", "left", "right")
        .link(LinkConfig::datagram("lan", ms(20), ms(200))) // a beat every 20 ms, dead after 200 ms
        .link(LinkConfig::datagram("cross", ms(20), ms(200)))
        .fence(FenceConfig::new(ms(150)))
        .group(GroupConfig::new("mail").then(ResourceConfig::new("greeter")));
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    let (machines, service) = Machine::pair()?;
    let (lan, cross) = (udp_path("lan")?, udp_path("cross")?);
    for (me, machine) in machines.iter().enumerate() {
        let node = Node::builder(Arc::new(config.clone()), NodeId(me as u8))
            .key(PairKey::from_bytes(&[7; 32])?) // in earnest: PairKey::load("/etc/ha/key")
            .link(lan[me].clone())
            .link(cross[me].clone())
            .store(machine.store()?)
            .resource("mail", machine.service())
            .fence(machines[1 - me].power_switch())
            .predecessor(Predecessor::Gone) // blank machines: nothing of an earlier life can be left
            .spawn();
        machine.power_on(node.await?).await;
    }
    let (epoch, proof) = machines[0].reached("active").await?;
    println!("epoch {epoch}, proof {proof}: {}", ask(service).await?);
    machines[1].reached("standby").await?;
    let cut = Instant::now();
    machines[0].cut_power().await;
    let (epoch, proof) = machines[1].reached("active").await?;
    println!("epoch {epoch}, proof {proof}: {}", ask(service).await?);
    println!("the service was gone for {} ms", cut.elapsed().as_millis());
    Ok(())
}

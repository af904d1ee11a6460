use super::*;
use crate::api::{Ctx, FrameSender, HeartbeatTransport, ResourceError};
use crate::config::{LinkConfig, ResourceConfig};
use crate::engine::Health;
use async_trait::async_trait;
use std::io;

struct Named(&'static str);

#[async_trait]
impl Resource for Named {
    fn name(&self) -> &str {
        self.0
    }
    async fn start(&self, _: &Ctx) -> Result<(), ResourceError> {
        Ok(())
    }
    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        Ok(())
    }
    async fn monitor(&self, _: &Ctx) -> Health {
        Health::Running
    }
}

#[async_trait]
impl LinkFactory for Named {
    fn name(&self) -> &str {
        self.0
    }
    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn config() -> Config {
    let link = |name| LinkConfig::datagram(name, Duration::from_millis(20), Duration::from_millis(200));
    let mail = GroupConfig::new("mail").then(ResourceConfig::new("ip")).then(ResourceConfig::new("smtp"));
    Config::pair("post", "left", "right").link(link("lan")).link(link("tty")).group(mail)
}

fn offer(resources: &[(&str, &'static str)]) -> (Agents, Vec<String>) {
    let resources = resources.iter().map(|(g, n)| ((*g).into(), Arc::new(Named(n)) as Arc<dyn Resource>));
    let mut problems = Vec::new();
    let offered = Offered { resources: resources.collect(), ..Offered::default() };
    let agents = match_agents(&config(), offered, &mut problems);
    (agents, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn agents_get_their_configured_places_whatever_their_order() {
    let (agents, problems) = offer(&[("mail", "smtp"), ("mail", "ip")]);
    assert_eq!(problems, [""; 0]);
    let names: Vec<_> = agents.groups[0].resources.iter().map(|r| r.name()).collect();
    assert_eq!(names, ["ip", "smtp"]);
}

#[test]
fn every_misfit_is_named_with_what_was_found_and_expected() {
    let (_, problems) = offer(&[("mail", "ip"), ("mail", "ip"), ("mail", "pop"), ("news", "nntp")]);
    assert_eq!(
        problems,
        [
            "groups: found resource \"nntp\" for group \"news\", expected one of: mail",
            "groups[0] \"mail\".resources: found an agent called \"pop\", expected one of: ip, smtp",
            "groups[0] \"mail\".resources[0]: found 2 agents called \"ip\", expected exactly 1",
            "groups[0] \"mail\".resources[1]: found 0 agents called \"smtp\", expected exactly 1",
        ]
    );
}

#[test]
fn links_must_come_in_the_configured_order() {
    let links: Vec<Arc<dyn LinkFactory>> = vec![Arc::new(Named("tty"))];
    let mut problems = Vec::new();
    check_links(&config(), &links, &mut problems);
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "links[0]: found \"tty\", expected \"lan\", in the configured order",
            "links[1]: found no link, expected \"tty\", in the configured order",
        ]
    );
}

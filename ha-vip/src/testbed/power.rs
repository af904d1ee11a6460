//! Power of whole hosts.

use super::cable::Switchboard;
use super::faults::ports;
use super::{DataCentre, Host, TestbedError};
use std::io;

impl DataCentre {
    /// Takes the power: at one instant nothing enters or leaves the host any more and its carriers go, then all its
    /// processes and their descendants die at once. All of it is true when this returns, so that it may be told as "off"
    /// by a fence device. A success if it was off.
    ///
    /// Peers see no farewell: the cut comes before the kernel could close a connection. What was the host's network, with
    /// its addresses, lies there cut off until [`power_on`](Self::power_on) removes it (taking it apart at once would keep the kernel
    /// busy for some 80 ms, just while the survivor takes over).
    ///
    /// # Errors
    /// [`TestbedError::NoHost`]; [`TestbedError::System`], after which nobody knows what is left of the host.
    pub fn power_off(&self, host: &str) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        self.cut(&host)?;
        for port in ports(&host) {
            self.unless_gone(&host, |board| board.set_links([port], false))?;
        }
        host.switch_off().map_err(TestbedError::system("kill the processes", host.name()))
    }

    /// Gives the power back: the host is there as it was built, with new namespaces, and nothing runs in it. A success if it
    /// was on.
    ///
    /// # Errors
    /// As of [`DataCentreBuilder::build`](super::DataCentreBuilder::build).
    pub fn power_on(&self, host: &str) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        if host.is_on() {
            return Ok(());
        }
        for port in ports(&host) {
            self.unless_gone(&host, |board| board.delete_links([port]))?;
        }
        let door = self.plug_in(&host.plan)?;
        self.uncut(&host)?;
        host.switch_on(door);
        Ok(())
    }

    /// Does something to a port, whose interface may have been deleted and it with it.
    fn unless_gone(
        &self,
        host: &Host,
        act: impl FnOnce(&Switchboard) -> io::Result<()>,
    ) -> Result<(), TestbedError> {
        match act(&self.board()) {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                Err(TestbedError::system("change the links", host.name())(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

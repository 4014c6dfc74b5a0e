//! The steps of a program that are about datagrams, urgent data, and the clock.

use super::super::bytes::Bytes;
use super::{DATAGRAMS_SENT_MAX, Machine, SENT_MAX, SENT_MIN, SLOTS_MAX, Slot, digest};
use whirligig::sys::{Family, SocketOption};

impl Machine {
    pub(super) fn other_step(&mut self, operation: u8, program: &mut Bytes<'_>) {
        match operation {
            0 | 1 => self.open_for_datagrams(program),
            2 => self.couple(program),
            3..8 => self.send_to(program),
            8..11 => self.recv_from(program),
            11 | 12 => self.send_urgent(program),
            13 => self.recv_urgent(program),
            14 => self.at_mark(program),
            _ => self.look_at_the_clock(),
        }
    }

    fn open_for_datagrams(&mut self, program: &mut Bytes<'_>) {
        if self.open_count() < SLOTS_MAX {
            let v6 = program.byte() % 8 == 0;
            self.add_datagram_socket(if v6 { Family::V6 } else { Family::V4 });
        }
    }

    /// The place of the socket that is opened.
    fn add_datagram_socket(&mut self, family: Family) -> Option<usize> {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        match self.kernel.datagram_socket(family) {
            Ok(descriptor) => {
                if family == Family::V6 {
                    let only = descriptor.set_option(SocketOption::V6Only, 1);
                    self.say("v6only", 0, only.map(|()| "done".into()));
                }
                self.add(Slot::Socket { descriptor, datagrams: true, sent: 0, shut: false });
                Some(free)
            }
            Err(error) => {
                self.say("datagram socket", 0, Err(error));
                None
            }
        }
    }

    /// Two sockets: one is bound, and the other connected to it.
    fn couple(&mut self, program: &mut Bytes<'_>) {
        if self.open_count() + 2 > SLOTS_MAX {
            return;
        }
        let v6 = program.byte() % 8 == 0;
        let (family, any) = if v6 { (Family::V6, "[::1]:0") } else { (Family::V4, "127.0.0.1:0") };
        let Some(first) = self.add_datagram_socket(family) else { return };
        self.bind_to(first, any.parse().expect("a literal address"));
        let Some(&address) = self.known[1].bound.last() else { return };
        if let Some(second) = self.add_datagram_socket(family) {
            self.connect_to(second, address);
        }
    }

    fn send_to(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let address = Machine::address(&self.known[1].all, program);
        let length = match program.byte() {
            0..16 => 0,
            255 => 70_000,
            254 => 65_508,
            byte => usize::from(byte) * usize::from(byte) / 64,
        };
        let first = self.next_byte;
        let Some(Slot::Socket { descriptor, datagrams: true, sent, .. }) = &mut self.slots[index]
        else {
            return;
        };
        let left = DATAGRAMS_SENT_MAX.saturating_sub(*sent);
        let length = if length > 65_507 { length } else { length.min(left) };
        let bytes: Vec<u8> = (0..length).map(|index| first.wrapping_add(index as u8)).collect();
        let done = descriptor.send_to(&bytes, address);
        let count = done.as_ref().copied().unwrap_or(0);
        *sent += count;
        self.next_byte = first.wrapping_add(count as u8);
        if let Ok(local) = descriptor.local_address() {
            if local.port() != 0 {
                self.known[1].all.push(local);
            }
        }
        self.say("send to", index, done.map(|count| count.to_string()));
    }

    fn recv_from(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let length = usize::from(program.byte()) * 4;
        let Some(Slot::Socket { descriptor, datagrams: true, .. }) = &self.slots[index] else {
            return;
        };
        let mut bytes = vec![0; length];
        let done = descriptor.recv_from(&mut bytes);
        let done = done.map(|(count, from)| {
            let name = self.name(index, from);
            format!("{} from {name}", digest(&bytes[..count]))
        });
        self.say("recv from", index, done);
    }

    fn send_urgent(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let byte = self.next_byte;
        let Some(Slot::Socket { descriptor, sent, .. }) = &mut self.slots[index] else { return };
        *sent += SENT_MIN;
        if *sent > SENT_MAX {
            return;
        }
        let done = descriptor.send_urgent(byte);
        self.next_byte = byte.wrapping_add(done.is_ok().into());
        self.say("send urgent", index, done.map(|()| "done".into()));
    }

    fn recv_urgent(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let Some(Slot::Socket { descriptor, .. }) = &self.slots[index] else { return };
        let done = descriptor.recv_urgent();
        self.say("recv urgent", index, done.map(|byte| format!("{byte:?}")));
    }

    fn at_mark(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let Some(Slot::Socket { descriptor, .. }) = &self.slots[index] else { return };
        let done = descriptor.is_at_mark();
        self.say("at mark", index, done.map(|at| at.to_string()));
    }

    fn look_at_the_clock(&mut self) {
        let now = self.kernel.now();
        let back = now < std::mem::replace(&mut self.seen, now);
        self.say("clock", 0, Ok(if back { "goes back".into() } else { "goes on".into() }));
    }
}

//! Reading what a server says.

use super::{Answer, Group, Passwd, Question, VERSION};

/// What is left to read of an answer.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<[u8; 4]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    fn unsigned(&mut self) -> Option<u32> {
        self.number().map(u32::from_ne_bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(i32::from_ne_bytes(self.number()?)).ok()
    }

    /// A string with its NUL.
    fn string(&mut self, length: usize) -> Option<Vec<u8>> {
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string.strip_suffix(&[0])?.into())
    }

    /// Reads an answer to a question. `None` for what is none.
    pub(super) fn answer(&mut self, question: &Question) -> Option<Answer> {
        if i32::from_ne_bytes(self.number()?) != VERSION {
            return None;
        }
        let found = match self.unsigned()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(match (question, found) {
            (Question::User(_), false) => Answer::User(None),
            (Question::User(_), true) => Answer::User(Some(self.user()?)),
            (Question::Group(_), false) => Answer::Group(None),
            (Question::Group(_), true) => Answer::Group(Some(self.group()?)),
            (Question::Groups(_), false) => Answer::Groups(Vec::new()),
            (Question::Groups(_), true) => {
                let count = self.length()?;
                let groups: Vec<u32> = (0..count).map_while(|_| self.unsigned()).collect();
                Answer::Groups((groups.len() == count).then_some(groups)?)
            }
        })
    }

    fn user(&mut self) -> Option<Passwd> {
        let [name, password] = [self.length()?, self.length()?];
        let [uid, gid] = [self.unsigned()?, self.unsigned()?];
        let [gecos, home, shell] = [self.length()?, self.length()?, self.length()?];
        Some(Passwd {
            name: self.string(name)?,
            password: self.string(password)?,
            uid,
            gid,
            gecos: self.string(gecos)?,
            home: self.string(home)?,
            shell: self.string(shell)?,
        })
    }

    fn group(&mut self) -> Option<Group> {
        let [name, password] = [self.length()?, self.length()?];
        let gid = self.unsigned()?;
        let count = self.length()?;
        let lengths: Vec<usize> = (0..count).map_while(|_| self.length()).collect();
        if lengths.len() != count {
            return None;
        }
        let (name, password) = (self.string(name)?, self.string(password)?);
        let members = lengths.into_iter().map(|length| self.string(length));
        Some(Group {
            name,
            password,
            gid,
            members: members.collect::<Option<_>>()?,
        })
    }
}

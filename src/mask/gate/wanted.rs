//! Which numbers are wanted, and what must be checked for them.

use super::figure;
use crate::mask::Entity;

/// Which numbers are wanted.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "entities that are wanted independently")]
pub(super) struct Wanted {
    /// The fewest digits of any wanted number; `None` if no number is wanted for its digits alone.
    pub(super) digits: Option<usize>,
    /// IP addresses.
    pub(super) addresses: bool,
    pub(super) births: bool,
    /// French NIRs, in which a letter splits the digits of people born in Corsica.
    pub(super) corsica: bool,
    pub(super) macs: bool,
    /// IBANs and national insurance numbers, which begin with letters.
    pub(super) lettered: bool,
    pub(super) wallets: bool,
    pub(super) codes: bool,
    pub(super) ibans: bool,
}

impl Wanted {
    pub(super) fn add(&mut self, entity: Entity) {
        let digits = match entity {
            Entity::Crypto => return self.wallets = true,
            Entity::DateOfBirth => return self.births = true,
            Entity::IpAddress => return self.addresses = true,
            Entity::ItFiscalCode => return self.codes = true,
            Entity::IbanCode => {
                (self.lettered, self.ibans) = (true, true);
                8
            }
            Entity::UkNino => return self.lettered = true,
            Entity::EsNif | Entity::PhoneNumber => 7,
            Entity::UsBankNumber => 8,
            Entity::AuTfn | Entity::CaSin | Entity::UsItin | Entity::UsSsn => 9,
            Entity::UkNhs => 10,
            Entity::BrCpf | Entity::DeTaxId | Entity::PlPesel => 11,
            Entity::CreditCard | Entity::InAadhaar => 12,
            Entity::FrNir => {
                self.corsica = true;
                13
            }
            Entity::EmailAddress | Entity::MacAddress | Entity::Secret | Entity::UrlCredentials => return,
        };
        self.digits = Some(self.digits.map_or(digits, |least| least.min(digits)));
    }

    /// Whether the `digits` of a row, with the runs `joined` to an earlier one, are enough for a wanted number.
    pub(super) const fn could_be(&self, digits: u64, joined: u64) -> bool {
        let (digits, joined) = (digits.count_ones(), joined.count_ones());
        let enough = match self.digits {
            Some(least) => digits as usize >= least,
            None => false,
        };
        enough || self.addresses && joined >= 3
    }

    /// Whether no number is wanted.
    pub(super) const fn is_nothing(&self) -> bool {
        self.digits.is_none() && !self.lettered && !self.addresses && !self.births && !self.macs
    }
}

/// What is checked in every window, as masks: all bits or none.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) long: u64,
    pub(super) lettered: u64,
    pub(super) points: u64,
    pub(super) births: u64,
}

impl Asked {
    pub(super) const fn of(wanted: &Wanted) -> Self {
        const fn all(asked: bool) -> u64 {
            if asked { u64::MAX } else { 0 }
        }
        Self {
            long: all(wanted.digits.is_some() || wanted.addresses),
            lettered: all(wanted.lettered),
            points: all(wanted.addresses || wanted.macs),
            births: all(wanted.births),
        }
    }

    /// The same for every figure.
    pub(super) const fn of_figures(&self) -> figure::Asked {
        let codes = if self.lettered == 0 { 0 } else { figure::CODES };
        let addresses = if self.points == 0 { 0 } else { figure::ADDRESSES };
        figure::Asked { long: self.long, beside: codes | addresses, births: self.births }
    }
}

//! The people and invoices. Nobody here exists: addresses are in reserved domains, phone numbers in ranges kept for
//! fiction, cards and accounts are the published test numbers, whose check digits are right.

use std::collections::BTreeMap;

use serde::Serialize;

/// Contacts that can be created before the store is full.
const MOST_CONTACTS: usize = 1_000;

/// A person in the CRM.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Contact {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) company: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) region: String,
    /// E-mail address of the colleague in charge.
    pub(super) owner: String,
    /// Value of the open deal, in whole euros.
    pub(super) amount: i64,
    pub(super) notes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) card: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iban: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssn: Option<String>,
}

impl Contact {
    pub(super) fn uri(&self) -> String {
        format!("crm://contacts/{}", self.id)
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        format!("{}  {} <{}>, {}, {}", self.id, self.name, self.email, self.phone, self.company)
    }
}

/// A bill.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Invoice {
    pub(super) id: &'static str,
    pub(super) contact_id: &'static str,
    pub(super) amount: i64,
    pub(super) currency: &'static str,
    pub(super) status: &'static str,
    pub(super) due: &'static str,
    pub(super) memo: &'static str,
}

/// Everything, in memory.
#[derive(Debug)]
pub(super) struct Store {
    contacts: BTreeMap<String, Contact>,
    next: u32,
}

impl Store {
    /// The data every run starts with.
    pub(super) fn sample() -> Self {
        let contacts: BTreeMap<_, _> =
            PEOPLE.iter().map(Person::contact).map(|contact| (contact.id.clone(), contact)).collect();
        Self { contacts, next: 100 }
    }

    pub(super) fn find(&self, id: &str) -> Option<&Contact> {
        self.contacts.get(id)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut Contact> {
        self.contacts.get_mut(id)
    }

    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.values()
    }

    /// Adds a contact under the next id; `None` when the store is full.
    pub(super) fn add(&mut self, mut contact: Contact) -> Option<Contact> {
        if self.contacts.len() >= MOST_CONTACTS {
            return None;
        }
        contact.id = format!("c-{:03}", self.next);
        self.next += 1;
        self.contacts.insert(contact.id.clone(), contact.clone());
        Some(contact)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Contact> {
        self.contacts.remove(id)
    }
}

/// A row of the table below: id, name, company, e-mail, phone, region, amount, notes, then card, IBAN and SSN.
struct Person {
    who: [&'static str; 5],
    region: &'static str,
    amount: i64,
    notes: &'static str,
    secrets: [&'static str; 3],
}

impl Person {
    fn contact(&self) -> Contact {
        let [id, name, company, email, phone] = self.who.map(str::to_owned);
        let [card, iban, ssn] = self.secrets.map(|text| (!text.is_empty()).then(|| text.to_owned()));
        let owner = if self.region == "amer" { "max@example.com" } else { "ana@example.com" };
        let (region, notes) = (self.region.to_owned(), self.notes.to_owned());
        Contact {
            id,
            name,
            company,
            email,
            phone,
            region,
            owner: owner.to_owned(),
            amount: self.amount,
            notes,
            card,
            iban,
            ssn,
        }
    }
}

const PEOPLE: [Person; 12] = [
    Person {
        who: ["c-001", "Erika Mustermann", "Beispiel GmbH", "erika.mustermann@example.com", "+49 30 23125 014"],
        region: "emea",
        amount: 12_400,
        notes: "Paid the deposit with 4111 1111 1111 1111. Prefers mail to erika@private.example.",
        secrets: ["4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", ""],
    },
    Person {
        who: ["c-002", "Jane Placeholder", "Initech", "jane.placeholder@example.org", "+1 202 555 0143"],
        region: "amer",
        amount: 8_000,
        notes: "Background check done, SSN on file. Call after 14:00.",
        secrets: ["5555 5555 5555 4444", "", "536-90-4399"],
    },
    Person {
        who: ["c-003", "Jean Exemple", "Exemple SARL", "jean@exemple.example", "+33 1 99 00 12 34"],
        region: "emea",
        amount: 31_250,
        notes: "Wants invoices to compta@exemple.example as well; account manager EMP-004217.",
        secrets: ["", "FR14 2004 1010 0505 0001 3M02 606", ""],
    },
    Person {
        who: ["c-004", "Sam Sample", "Sample & Daughters", "sam@sample.test", "+44 20 7946 0018"],
        region: "emea",
        amount: 950,
        notes: "Order 1234567812345678 is an order number, not a card.",
        secrets: ["4012 8888 8888 1881", "GB82 WEST 1234 5698 7654 32", ""],
    },
    Person {
        who: ["c-005", "Joe Bloggs", "Globex", "joe.bloggs@example.net", "+1 202 555 0177"],
        region: "amer",
        amount: 64_000,
        notes: "Legal asked for the SSN 212-45-6781 to be removed from old mails.",
        secrets: ["3782 822463 10005", "", "212-45-6781"],
    },
    Person {
        who: ["c-006", "Piet Voorbeeld", "Voorbeeld BV", "piet@voorbeeld.example", "+31 20 555 0106"],
        region: "emea",
        amount: 4_300,
        notes: "Direct debit since March.",
        secrets: ["", "NL91 ABNA 0417 1643 00", ""],
    },
    Person {
        who: ["c-007", "Hanako Rei", "Rei KK", "hanako@example.com", "+81 3 5550 0107"],
        region: "apac",
        amount: 18_700,
        notes: "Their integration uses the key AKIAIOSFODNN7EXAMPLE; ask them to rotate it.",
        secrets: ["3530 1113 3330 0000", "", ""],
    },
    Person {
        who: ["c-008", "Juan Ejemplo", "Ejemplo SL", "juan@ejemplo.example", "+34 91 555 0108"],
        region: "emea",
        amount: 7_150,
        notes: "Speaks for the group; copies to maria@ejemplo.example.",
        secrets: ["", "ES91 2100 0418 4502 0005 1332", ""],
    },
    Person {
        who: ["c-009", "Pat Doe", "Hooli", "pat.doe@example.org", "+1 202 555 0109"],
        region: "amer",
        amount: 22_000,
        notes: "Two cards on file; the second is 5105 1051 0510 5100.",
        secrets: ["6011 1111 1111 1117", "", "509-22-0417"],
    },
    Person {
        who: ["c-010", "Mario Esempio", "Esempio SpA", "mario@esempio.example", "+39 06 5550 0110"],
        region: "emea",
        amount: 15_500,
        notes: "Renews in January.",
        secrets: ["", "IT60 X054 2811 1010 0000 0123 456", ""],
    },
    Person {
        who: ["c-011", "Bruce Example", "Example Pty", "bruce@example.net", "+61 491 570 156"],
        region: "apac",
        amount: 2_600,
        notes: "Met at the fair. Nothing sensitive here.",
        secrets: ["", "", ""],
    },
    Person {
        who: ["c-012", "Åsa Exempel", "Exempel AB", "asa@exempel.example", "+46 8 465 004 12"],
        region: "emea",
        amount: 9_900,
        notes: "Reads mail from 198.51.100.23 and says so.",
        secrets: ["3056 930902 5904", "SE45 5000 0000 0583 9825 7466", ""],
    },
];

/// Every invoice.
pub(super) const INVOICES: [Invoice; 8] = [
    invoice("inv-2001", "c-001", 2_480, "paid", "2026-03-31", "Paid with 4111 1111 1111 1111"),
    invoice("inv-2002", "c-001", 9_920, "open", "2026-12-15", "Second instalment"),
    invoice("inv-2003", "c-002", 8_000, "overdue", "2026-09-01", "Reminder sent to jane.placeholder@example.org"),
    invoice("inv-2004", "c-003", 31_250, "open", "2026-12-01", "Transfer to FR14 2004 1010 0505 0001 3M02 606"),
    invoice("inv-2005", "c-005", 16_000, "paid", "2026-06-30", "Quarter 2"),
    invoice("inv-2006", "c-005", 16_000, "open", "2026-12-31", "Quarter 4"),
    invoice("inv-2007", "c-009", 22_000, "overdue", "2026-10-10", "Call +1 202 555 0109"),
    invoice("inv-2008", "c-012", 9_900, "paid", "2026-02-28", "Thank you"),
];

const fn invoice(
    id: &'static str,
    contact_id: &'static str,
    amount: i64,
    status: &'static str,
    due: &'static str,
    memo: &'static str,
) -> Invoice {
    Invoice { id, contact_id, amount, currency: "EUR", status, due, memo }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes_luhn(card: &str) -> bool {
        let digits = card.chars().filter_map(|one| one.to_digit(10)).rev().enumerate();
        let sum: u32 =
            digits.map(|(at, digit)| if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit }).sum();
        sum.is_multiple_of(10)
    }

    fn passes_mod_97(iban: &str) -> bool {
        let compact: String = iban.split(' ').collect();
        let moved = compact.chars().cycle().skip(4).take(compact.len());
        moved
            .filter_map(|one| one.to_digit(36))
            .fold(0, |rest, digit| (rest * if digit > 9 { 100 } else { 10 } + digit) % 97)
            == 1
    }

    #[test]
    fn numbers_are_test_numbers_with_right_check_digits() {
        for contact in Store::sample().contacts() {
            assert!(contact.card.as_deref().is_none_or(passes_luhn), "{contact:?}");
            assert!(contact.iban.as_deref().is_none_or(passes_mod_97), "{contact:?}");
        }
    }

    #[test]
    fn addresses_are_in_reserved_domains() {
        for contact in Store::sample().contacts() {
            let reserved = [".example", ".test", "@example.com", "@example.net", "@example.org"];
            for word in format!("{} {}", contact.email, contact.notes).split(' ').filter(|word| word.contains('@')) {
                let word = word.trim_end_matches(['.', ',']);
                assert!(reserved.iter().any(|end| word.ends_with(end)), "{word}");
            }
        }
    }

    #[test]
    fn every_invoice_has_a_contact() {
        let store = Store::sample();
        assert!(INVOICES.iter().all(|invoice| store.find(invoice.contact_id).is_some()));
    }
}

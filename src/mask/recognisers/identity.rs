//! National identity, tax and insurance numbers.

mod american;
mod british;
mod european;
mod italian;
mod overseas;

pub(in crate::mask) use american::{br_cpf, ca_sin, us_itin, us_ssn};
pub(in crate::mask) use british::{uk_nhs, uk_nino};
pub(in crate::mask) use european::{de_tax_id, es_nif, fr_nir, pl_pesel};
pub(in crate::mask) use italian::{is_fiscal_code, it_fiscal_code, it_fiscal_codes_in_letters};
pub(in crate::mask) use overseas::{au_tfn, in_aadhaar};

pub(super) use american::WORDS as AMERICAN;
pub(super) use british::WORDS as BRITISH;
pub(super) use european::WORDS as EUROPEAN;
pub(super) use overseas::WORDS as OVERSEAS;

//! ISO 3166-1 alpha-2 codes.

use sheaf_model::visible_text::is_blank;

/// The assigned codes, sorted, and XI (Northern Ireland in VAT numbers), as EN 16931's rule
/// BR-CL-14 lists them.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL \
    BM BN BO BQ BR BS BT \
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH \
ER ES ET FI FJ FK FM \
FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO \
IQ IR IS IT JE JM JO \
JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM \
MN MO MP MQ MR MS MT \
MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
QA RE RO RS RU RW SA \
SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT \
TV TW TZ UA UG UM US \
UY UZ VA VC VE VG VI VN VU WF WS XI YE YT ZA ZM ZW";

/// Whether `code` is one, in upper case.
pub(crate) fn is_country(code: &str) -> bool {
    CODES.split(' ').any(|known| known == code)
}

/// Whether `id` is a VAT number with its country in front, as rule BR-CO-09 asks for (`EL` is
/// Greece there).
pub(crate) fn is_vat_id(id: &str) -> bool {
    id.split_at_checked(2)
        .is_some_and(|(prefix, rest)| !is_blank(rest) && (prefix == "EL" || is_country(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_vat_prefixes() {
        assert!(is_country("DE") && is_country("AD") && is_country("ZW"));
        assert!(!is_country("de") && !is_country("EL") && !is_country("D") && !is_country(""));
        assert!(is_vat_id("DE123456789") && is_vat_id("EL123") && is_vat_id("XI1"));
        assert!(
            !is_vat_id("DE")
                && !is_vat_id("DE\u{1}\u{200b}")
                && !is_vat_id("12345")
                && !is_vat_id("é1")
        );
    }
}

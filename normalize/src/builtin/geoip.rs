//! geoip: where the public addresses of an event are.
//!
//! In: `details.{source,destination}ipaddress`. Out: `*ipgeolocation` (eleven fields, or
//! `error`) and `*ipgeopoint`; what is no address becomes `0.0.0.0`, since the index
//! takes only addresses there. Never: anything for private addresses.

use std::net::IpAddr;
use std::sync::LazyLock;

use model::event::{EditError, Event, New, Path};

use super::address::{address_of, is_public};
use super::details::{detail, detail_path};
use crate::geoip_database::{City, GeoDatabase};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const GEOIP: Builtin =
    Builtin { name: "geoip", registration: &["sourceipaddress", "destinationipaddress"], priority: 20, run };

/// The names of one end of a connection, compiled.
struct End {
    address: &'static str,
    location: Path,
    point: Path,
    fields: [Path; 11],
    error: Path,
}

/// In the order of [`write_city`].
const FIELDS: [&str; 11] = [
    "city",
    "continent",
    "country_code",
    "country_name",
    "dma_code",
    "latitude",
    "longitude",
    "metro_code",
    "postal_code",
    "region_code",
    "time_zone",
];

static ENDS: LazyLock<[End; 2]> = LazyLock::new(|| {
    [
        ("sourceipaddress", "sourceipgeolocation", "sourceipgeopoint"),
        ("destinationipaddress", "destinationipgeolocation", "destinationipgeopoint"),
    ]
    .map(|(address, location, point)| End {
        address,
        location: detail_path(location),
        point: detail_path(point),
        fields: FIELDS.map(|field| Path::from_keys(["details", location, field])),
        error: Path::from_keys(["details", location, "error"]),
    })
});

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let mut changed = false;
    for end in &*ENDS {
        let Some(value) = detail(event, end.address) else { continue };
        match value.as_str().and_then(address_of) {
            None => event.set_in("details", end.address, "0.0.0.0")?,
            Some(address) if is_public(address) => locate(event, end, address, context.geoip)?,
            Some(_) => continue,
        }
        changed = true;
    }
    Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
}

fn locate(
    event: &mut Event,
    end: &End,
    address: IpAddr,
    database: Option<&GeoDatabase>,
) -> Result<(), EditError> {
    let failed = match database.map(|database| database.lookup(address)) {
        Some(Ok(Some(city))) => return write_city(event, end, &city),
        Some(Ok(None)) => "the address is not in the database",
        Some(Err(_)) => "the database has a defect at this address",
        None => "No Geolite DB Found!",
    };
    event.set(&end.location, New::EmptyObject)?;
    event.set(&end.error, failed)
}

fn write_city(event: &mut Event, end: &End, city: &City<'_>) -> Result<(), EditError> {
    fn text(value: Option<&str>) -> New<'_> {
        value.map_or(New::Null, New::Str)
    }
    let metro = city.city.zip(city.region_code).map(|(name, region)| format!("{name}, {region}"));
    let values = [
        text(city.city),
        text(city.continent),
        text(city.country_code),
        text(city.country_name),
        city.dma_code.map_or(New::Null, |code| New::U64(u64::from(code))),
        city.latitude.map_or(New::Null, New::F64),
        city.longitude.map_or(New::Null, New::F64),
        text(metro.as_deref()),
        text(city.postal_code),
        text(city.region_code),
        text(city.time_zone),
    ];
    event.set(&end.location, New::EmptyObject)?;
    for (path, value) in end.fields.iter().zip(values) {
        event.set(path, value)?;
    }
    if let Some((latitude, longitude)) = city.latitude.zip(city.longitude) {
        event.set(&end.point, &format!("{latitude:?},{longitude:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::GEOIP;
    use crate::builtin::testing::{check, check_unchanged, geo_database, run_with};

    #[test]
    fn a_public_address_gets_its_place() {
        let Some(database) = geo_database() else { return };
        let event = run_with(
            &GEOIP,
            r#"{"details":{"sourceipaddress":"81.2.69.142","destinationipaddress":"10.0.0.1"}}"#,
            Some(&database),
        );
        let details: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
        let location = &details["details"]["sourceipgeolocation"];
        assert_eq!(location.as_object().map(serde_json::Map::len), Some(11), "{location}");
        assert_eq!(location["city"], "London");
        assert_eq!(location["continent"], "EU");
        assert_eq!(location["country_code"], "GB");
        assert_eq!(location["country_name"], "United Kingdom");
        assert_eq!(location["metro_code"], "London, ENG");
        assert_eq!(location["region_code"], "ENG");
        assert_eq!(location["time_zone"], "Europe/London");
        assert_eq!(location["dma_code"], serde_json::Value::Null);
        assert_eq!(details["details"]["sourceipgeopoint"], "51.5142,-0.0931");
        assert_eq!(details["details"].get("destinationipgeolocation"), None);
    }

    #[test]
    fn an_address_that_is_not_there_says_so() {
        let Some(database) = geo_database() else { return };
        let event = run_with(&GEOIP, r#"{"details":{"destinationipaddress":"8.8.8.8"}}"#, Some(&database));
        assert_eq!(
            event.to_json(),
            r#"{"details":{"destinationipaddress":"8.8.8.8","destinationipgeolocation":{"error":"the address is not in the database"}}}"#
        );
    }

    #[test]
    fn what_is_no_address_becomes_zero() {
        check(
            &GEOIP,
            r#"{"details":{"sourceipaddress":null,"destinationipaddress":"host"}}"#,
            r#"{"details":{"sourceipaddress":"0.0.0.0","destinationipaddress":"0.0.0.0"}}"#,
        );
        check_unchanged(&GEOIP, r#"{"details":{"sourceipaddress":"fe80::1"}}"#);
        check_unchanged(&GEOIP, r#"{"details":[]}"#);
    }
}

//! A MaxMind city database: opened whole, checked, asked by address.
//!
//! In: a `.mmdb` file of the kinds `GeoLite2-City` or `GeoIP2-City`. Out: the place of an
//! address. Never: a panic on a broken file; what cannot be read is an error.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

/// Largest file that is read into memory, in bytes. MaxMind's largest city database is a tenth of it.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// An open city database.
pub struct GeoDatabase {
    reader: Reader<Vec<u8>>,
}

/// Why a file is no city database.
#[derive(Debug, thiserror::Error)]
pub enum GeoDatabaseError {
    /// The file cannot be read.
    #[error("cannot read the geolocation database {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the geolocation database {path} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        limit: u64,
    },
    /// The file is not in MaxMind's format, or broken.
    #[error("{path} is no sound MaxMind database, download it again: {source}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: MaxMindDbError,
    },
    /// The file is another kind of database.
    #[error("{path} is a {kind} database; a City database (GeoLite2-City, GeoIP2-City) is needed")]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        kind: String,
    },
}

/// The database has a defect where an address was looked up.
#[derive(Debug, thiserror::Error)]
#[error("the geolocation database has a defect: {0}")]
pub struct LookupError(#[from] MaxMindDbError);

/// The place of an address; texts are English.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct City<'d> {
    /// Name of the city.
    pub city: Option<&'d str>,
    /// Two letters.
    pub continent: Option<&'d str>,
    /// ISO 3166-1, two letters.
    pub country_code: Option<&'d str>,
    /// Name of the country.
    pub country_name: Option<&'d str>,
    /// Metro code of the United States.
    pub dma_code: Option<u16>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Postal code, perhaps only its first part.
    pub postal_code: Option<&'d str>,
    /// ISO 3166-2 code of the largest part of the country.
    pub region_code: Option<&'d str>,
    /// IANA name.
    pub time_zone: Option<&'d str>,
}

impl GeoDatabase {
    /// Reads a file, and asks it about a few addresses so that a broken one is refused here.
    pub fn open(path: &Path) -> Result<GeoDatabase, GeoDatabaseError> {
        let read_error = |source| GeoDatabaseError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read_error)?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(read_error)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(GeoDatabaseError::TooLarge { path: path.to_owned(), limit: FILE_BYTES_MAX });
        }
        let broken = |source| GeoDatabaseError::Broken { path: path.to_owned(), source };
        let reader = Reader::from_source(bytes).map_err(broken)?;
        if !reader.metadata().database_type.contains("City") {
            return Err(GeoDatabaseError::OtherKind {
                path: path.to_owned(),
                kind: reader.metadata().database_type.clone(),
            });
        }
        let database = GeoDatabase { reader };
        for address in database.probes() {
            database.lookup(address).map_err(|LookupError(source)| broken(source))?;
        }
        Ok(database)
    }

    /// Addresses in all parts of the search tree that the database has.
    fn probes(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = (0..=255_u8).map(|first| IpAddr::V4(Ipv4Addr::new(first, 64, 0, 1)));
        let v6 = (0..=255_u16)
            .map(|second| IpAddr::V6(Ipv6Addr::new(0x2000 | second << 4, second, 0, 0, 0, 0, 0, 1)));
        let with_v6 = self.reader.metadata().ip_version == 6;
        v4.chain(v6.filter(move |_| with_v6))
    }

    /// The place of an address; `None` when the database does not know it.
    pub fn lookup(&self, address: IpAddr) -> Result<Option<City<'_>>, LookupError> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        let record: Option<Record<'_>> = self.reader.lookup(address)?.decode()?;
        Ok(record.map(|record| City {
            city: record.city.names.en,
            continent: record.continent.code,
            country_code: record.country.iso_code,
            country_name: record.country.names.en,
            dma_code: record.location.metro_code,
            latitude: record.location.latitude,
            longitude: record.location.longitude,
            postal_code: record.postal.code,
            region_code: record.subdivisions.first().and_then(|first| first.iso_code),
            time_zone: record.location.time_zone,
        }))
    }
}

impl std::fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeoDatabase").field("metadata", self.reader.metadata()).finish_non_exhaustive()
    }
}

/// The part of a record that is wanted; the decoder steps over the rest.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'d> {
    #[serde(borrow)]
    city: Place<'d>,
    continent: Place<'d>,
    country: Place<'d>,
    location: Location<'d>,
    postal: Place<'d>,
    subdivisions: Vec<Place<'d>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Place<'d> {
    code: Option<&'d str>,
    iso_code: Option<&'d str>,
    #[serde(borrow)]
    names: Names<'d>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'d> {
    en: Option<&'d str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location<'d> {
    latitude: Option<f64>,
    longitude: Option<f64>,
    metro_code: Option<u16>,
    time_zone: Option<&'d str>,
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{GeoDatabase, GeoDatabaseError};
    use crate::builtin::testing::recorded_data;

    #[test]
    fn expected_places_are_found() {
        let Some(folder) = recorded_data("mmdb") else { return };
        let database = GeoDatabase::open(&folder.join("GeoIP2-City-Test.mmdb")).unwrap();
        let networks: Vec<serde_json::Value> = serde_json::from_str(
            &std::fs::read_to_string(folder.join("source-data/GeoIP2-City-Test.json")).unwrap(),
        )
        .unwrap();
        let mut compared = 0;
        for (network, record) in networks.iter().flat_map(|network| network.as_object().unwrap()) {
            let address = network.split('/').next().unwrap().parse().unwrap();
            let Some(city) = database.lookup(address).unwrap() else { continue };
            let names = |key: &str| record[key]["names"]["en"].as_str();
            // A larger network may hide a smaller one of the list that has the same first address.
            if city.city == names("city") && city.country_name == names("country") {
                assert_eq!(city.country_code, record["country"]["iso_code"].as_str(), "{network}");
                assert_eq!(city.latitude, record["location"]["latitude"].as_f64(), "{network}");
                assert_eq!(city.time_zone, record["location"]["time_zone"].as_str(), "{network}");
                compared += 1;
            }
        }
        assert!(compared * 10 > networks.len() * 9, "{compared} of {}", networks.len());
    }

    fn databases_below(folder: &Path) -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "mmdb")).collect()
    }

    #[test]
    fn broken_databases_are_refused_or_answer_without_panic() {
        let Some(folder) = recorded_data("mmdb") else { return };
        let mut files = databases_below(&folder);
        files.extend(databases_below(&folder.join("bad-data")));
        assert!(files.len() > 25);
        let mut refused = 0;
        for file in files {
            match GeoDatabase::open(&file) {
                Ok(database) => {
                    let answers =
                        database.probes().filter(|address| database.lookup(*address).is_ok()).count();
                    assert!(answers > 0, "{}", file.display());
                }
                Err(error) => {
                    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 15, "{refused}");
    }

    #[test]
    fn a_damaged_database_never_panics() {
        let Some(folder) = recorded_data("mmdb") else { return };
        let sound = std::fs::read(folder.join("GeoLite2-City-Test.mmdb")).unwrap();
        let scratch = std::env::temp_dir().join(format!("mozdef-mmdb-{}.mmdb", std::process::id()));
        let mut seed = 0x9e37_79b9_u32;
        for _ in 0..150 {
            let mut bytes = sound.clone();
            for _ in 0..20 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = seed as usize % bytes.len();
                bytes[at] = (seed >> 24) as u8;
            }
            std::fs::write(&scratch, &bytes).unwrap();
            if let Ok(database) = GeoDatabase::open(&scratch) {
                assert!(database.probes().filter(|address| database.lookup(*address).is_ok()).count() > 0);
            }
        }
        std::fs::remove_file(&scratch).unwrap();
    }

    #[test]
    fn other_files_are_refused_with_a_remedy() {
        assert!(matches!(
            GeoDatabase::open(Path::new("/nonexistent/x.mmdb")),
            Err(GeoDatabaseError::Read { .. })
        ));
        assert!(matches!(
            GeoDatabase::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path()),
            Err(GeoDatabaseError::Broken { .. })
        ));
        let Some(folder) = recorded_data("mmdb") else { return };
        let error = GeoDatabase::open(&folder.join("GeoLite2-ASN-Test.mmdb")).unwrap_err();
        assert!(
            error.to_string().ends_with(
                "is a GeoLite2-ASN database; a City database (GeoLite2-City, GeoIP2-City) is needed"
            ),
            "{error}"
        );
    }
}

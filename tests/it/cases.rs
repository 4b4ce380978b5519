//! The recorded cases of the original, area by area.

#[test]
fn every_recorded_case_of_a_known_area_passes() {
    let Some(shared) = tests::data::folder() else { return };
    let report = tests::cases::run(&shared.join("cases")).unwrap();
    print!("{report}");
    assert_eq!(report.failed(), 0, "{report}");
    // What passed once must not fall back to "not yet".
    for (area, least) in [
        ("dispatch", 11),
        ("http", 27),
        ("keymapping", 156),
        ("query", 350),
        ("schema", 5),
        ("util", 52),
        ("workers", 4),
    ] {
        let passed = report.areas.iter().find(|found| found.name == area).map_or(0, |found| found.passed);
        assert!(passed >= least, "{area}: {passed} passed, {least} expected");
    }
}

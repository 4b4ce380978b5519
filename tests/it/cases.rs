//! The recorded cases of the original, area by area.

#[test]
fn every_recorded_case_of_a_known_area_passes() {
    let Some(shared) = tests::data::folder() else { return };
    let report = tests::cases::run(&shared.join("cases"));
    print!("{report}");
    assert!(report.passed() > 900, "only {} cases passed", report.passed());
    assert_eq!(report.failed(), 0, "{report}");
}

//! What is taken from each finding of GuardDuty.
//!
//! In: the category of a finding. Out: maps: names under `details` with dotted paths below the finding. Never: a
//! category without maps; one that is not listed has those of its kind.

use super::rebuilt::Map;

/// Of every finding.
pub(super) const COMMON: Map = &[
    ("findingid", "id"),
    ("arn", "arn"),
    ("awsaccountid", "accountId"),
    ("awsregion", "region"),
    ("resourcetype", "resource.resourceType"),
    ("detectorid", "finding.detectorId"),
    ("direction", "finding.action.networkConnectionAction.connectionDirection"),
];

/// Of findings about instances.
const INSTANCE: Map = &[
    ("instanceid", "resource.instanceDetails.instanceId"),
    ("instancetype", "resource.instanceDetails.instanceType"),
    ("launchtime", "resource.instanceDetails.launchTime"),
    ("iamprofilearn", "resource.instanceDetails.iamInstanceProfile.arn"),
    ("iamprofileid", "resource.instanceDetails.iamInstanceProfile.id"),
    ("state", "resource.instanceDetails.instanceState"),
    ("az", "resource.instanceDetails.availabilityZone"),
    ("imageid", "resource.instanceDetails.imageId"),
    ("imagedesc", "resource.instanceDetails.imageDescription"),
    ("platform", "resource.instanceDetails.platform"),
];

/// Of the first network interface of an instance.
pub(super) const INTERFACE: Map = &[
    ("networkinterfaceid", "networkInterfaceId"),
    ("privatednsname", "privateDnsName"),
    ("privateipaddress", "privateIpAddress"),
    ("subnetid", "subnetId"),
    ("vpcid", "vpcId"),
    ("publicdnsname", "publicDnsName"),
    ("publicip", "publicIp"),
];

/// Probes of an instance's ports, one of which the sender of the event may have picked out.
const PROBED: Map = &[
    ("sourceipaddress", "finding.probeevent.remoteIpDetails.ipAddressV4"),
    ("destinationport", "finding.probeevent.localPortDetails.port"),
    ("proto", "finding.probeevent.localPortDetails.portName"),
];

const NET: Map = &[("proto", "finding.action.networkConnectionAction.protocol")];

/// Connections that others opened.
const FROM_REMOTE: Map = &[
    ("sourceipaddress", "finding.action.networkConnectionAction.remoteIpDetails.ipAddressV4"),
    ("sourceport", "finding.action.networkConnectionAction.remotePortDetails.port"),
    ("destinationport", "finding.action.networkConnectionAction.localPortDetails.port"),
];
const TO_LOCAL: Map =
    &[("destinationipaddress", "finding.action.networkConnectionAction.localIpDetails.ipAddressV4")];

/// Connections that the instance opened.
const FROM_LOCAL: Map =
    &[("sourceipaddress", "finding.action.networkConnectionAction.localIpDetails.ipAddressV4")];
const TO_REMOTE: Map = &[
    ("destinationipaddress", "finding.action.networkConnectionAction.remoteIpDetails.ipAddressV4"),
    ("sourceport", "finding.action.networkConnectionAction.localPortDetails.port"),
    ("destinationport", "finding.action.networkConnectionAction.remotePortDetails.port"),
];

const QUERY: Map = &[("query", "finding.action.dnsRequestAction.domain")];
const MISC: Map = &[("miscinfo", "finding.additionalInfo")];
const EVIDENCE: Map = &[("evidence", "finding.evidence")];

/// Of findings about access keys.
const ACCESS_KEY: Map = &[
    ("accesskeyid", "resource.accessKeyDetails.accessKeyId"),
    ("principalid", "resource.accessKeyDetails.principalId"),
];
const USER: Map =
    &[("usertype", "resource.accessKeyDetails.userType"), ("username", "resource.accessKeyDetails.userName")];
const CALLED_NAME: Map = &[("apiname", "finding.apicalls.name")];
const CALLED: Map = &[
    ("apiname", "finding.apicalls.api"),
    ("sourceipaddress", "finding.action.awsApiCallAction.remoteIpDetails.ipAddressV4"),
];

/// Every category, with its maps beside [`COMMON`].
const CATEGORIES: &[(&[&str], &[Map])] = &[
    (&["Recon:EC2/PortProbeUnprotectedPort", "Recon:EC2/PortProbeEMRUnprotectedPort"], &[INSTANCE, PROBED]),
    (&["Trojan:EC2/DNSDataExfiltration"], &[INSTANCE, NET, FROM_REMOTE, QUERY, MISC, EVIDENCE]),
    (&["UnauthorizedAccess:EC2/TorIPCaller"], &[INSTANCE, NET, FROM_REMOTE, TO_LOCAL, MISC, EVIDENCE]),
    (
        &[
            "UnauthorizedAccess:EC2/TorClient",
            "UnauthorizedAccess:EC2/TorRelay",
            "UnauthorizedAccess:EC2/MaliciousIPCaller.Custom",
            "Backdoor:EC2/Spambot",
            "Backdoor:EC2/DenialOfService.Tcp",
            "Backdoor:EC2/DenialOfService.Udp",
            "Backdoor:EC2/DenialOfService.UdpOnTcpPorts",
            "Backdoor:EC2/DenialOfService.UnusualProtocol",
            "Behavior:EC2/NetworkPortUnusual",
            "Behavior:EC2/TrafficVolumeUnusual",
        ],
        &[INSTANCE, NET, FROM_LOCAL, TO_REMOTE, MISC, EVIDENCE],
    ),
    (
        &["Backdoor:EC2/C&CActivity.B!DNS", "Backdoor:EC2/DenialOfService.Dns"],
        &[INSTANCE, NET, FROM_LOCAL, TO_REMOTE, QUERY, MISC, EVIDENCE],
    ),
    (
        &[
            "Trojan:EC2/BlackholeTraffic",
            "CryptoCurrency:EC2/BitcoinTool.B",
            "Recon:EC2/Portscan",
            "UnauthorizedAccess:EC2/MetadataDNSRebind",
        ],
        &[INSTANCE, NET, TO_REMOTE, MISC, EVIDENCE],
    ),
    (
        &[
            "Trojan:EC2/DropPoint",
            "Trojan:EC2/BlackholeTraffic!DNS",
            "Trojan:EC2/DriveBySourceTraffic!DNS",
            "Trojan:EC2/DropPoint!DNS",
            "Trojan:EC2/DGADomainRequest.B",
            "Trojan:EC2/DGADomainRequest.C!DNS",
            "Trojan:EC2/PhishingDomainRequest!DNS",
            "CryptoCurrency:EC2/BitcoinTool.B!DNS",
        ],
        &[INSTANCE, NET, TO_REMOTE, QUERY, MISC, EVIDENCE],
    ),
    (
        &[
            "Recon:IAMUser/TorIPCaller",
            "Recon:IAMUser/MaliciousIPCaller.Custom",
            "Recon:IAMUser/MaliciousIPCaller",
            "Recon:IAMUser/NetworkPermissions",
            "Recon:IAMUser/ResourcePermissions",
            "Recon:IAMUser/UserPermissions",
        ],
        &[ACCESS_KEY, CALLED_NAME],
    ),
    (
        &[
            "Persistence:IAMUser/ResourcePermissions",
            "Persistence:IAMUser/UserPermissions",
            "Persistence:IAMUser/NetworkPermissions",
            "ResourceConsumption:IAMUser/ComputeResources",
            "Stealth:IAMUser/S3ServerAccessLoggingDisabled",
            "Stealth:IAMUser/PasswordPolicyChange",
            "Stealth:IAMUser/CloudTrailLoggingDisabled",
            "Stealth:IAMUser/LoggingConfigurationModified",
            "UnauthorizedAccess:IAMUser/TorIPCaller",
            "UnauthorizedAccess:IAMUser/MaliciousIPCaller.Custom",
            "UnauthorizedAccess:IAMUser/ConsoleLoginSuccess.B",
            "UnauthorizedAccess:IAMUser/MaliciousIPCaller",
            "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration",
            "UnauthorizedAccess:IAMUser/ConsoleLogin",
            "PenTest:IAMUser/KaliLinux",
            "PenTest:IAMUser/ParrotLinux",
            "PenTest:IAMUser/PentooLinux",
            "Policy:IAMUser/S3BlockPublicAccessDisabled",
            "Policy:IAMUser/RootCredentialUsage",
            "PrivilegeEscalation:IAMUser/AdministrativePermissions",
        ],
        &[ACCESS_KEY, USER, CALLED, EVIDENCE],
    ),
    (&["UnauthorizedAccess:EC2/RDPBruteForce"], &[INSTANCE, NET, FROM_REMOTE, TO_LOCAL]),
    (&["UnauthorizedAccess:EC2/SSHBruteForce"], &[INSTANCE, NET, FROM_REMOTE]),
];

/// The maps of a category.
pub(super) fn maps(category: &str) -> &'static [Map] {
    const OF_INSTANCES: &[Map] = &[INSTANCE, NET, FROM_LOCAL, TO_REMOTE, QUERY, MISC, EVIDENCE];
    const OF_ACCESS_KEYS: &[Map] = &[ACCESS_KEY, USER, CALLED, EVIDENCE];
    let listed = CATEGORIES.iter().find(|(names, _)| names.contains(&category));
    let kind = if category.contains(":IAMUser/") { OF_ACCESS_KEYS } else { OF_INSTANCES };
    listed.map_or(kind, |(_, maps)| maps)
}

/// Whether the network interface is kept whole too: not for probes.
pub(super) fn keeps_interface(category: &str) -> bool {
    !maps(category).contains(&PROBED)
}

// swift-tools-version: 6.2
import Foundation
import PackageDescription

// The module table. Imports point down this list, never up or sideways; every Swift target may use BlockStorage.
//
// FuseFrontEnd also sees PoolEngine, because mounting a pool includes running its maintenance and closing it. Commands
// and FuseFrontEnd also see CLinux, for calls that Swift cannot make: open(2) with a mode, prctl(2). CBytes is C of our own: the checksum instruction has no name in Swift. So is CAllocations, which
// counts allocations.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

func module(_ name: String, _ dependencies: [Target.Dependency], settings: [SwiftSetting] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict + settings)
}

// Without the TLS library's header everything but TLS is built.
let hasTLS = ["/usr/include", "/usr/local/include"].contains { FileManager.default.fileExists(atPath: "\($0)/gnutls/gnutls.h") }

func tests(_ name: String, _ dependencies: [Target.Dependency], excluding: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: excluding, swiftSettings: strict)
}

let package = Package(
    name: "volfs",
    products: [
        .executable(name: "volfs", targets: ["volfs"]),
        // For programs that embed a pool: create and open it, read, write, snapshot and clone without a mount.
        .library(name: "VolfsPool", targets: ["PoolEngine", "LinuxIO", "BlockStorage"]),
    ],
    targets: [
        // The Swift runtime is inside, so that what is tested is what scripts/install installs, and nothing is built twice.
        .executableTarget(
            name: "volfs", dependencies: ["Commands"], swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-stdlib"], .when(configuration: .release))]),
        module("Commands", ["FuseFrontEnd", "NBD", "NBDProtocol", "VolumeFS", "PoolEngine", "LinuxIO", "BlockStorage", "CLinux"]),
        module("FuseFrontEnd", ["VolumeFS", "PoolEngine", "LinuxIO", "BlockStorage", "CFuse", "CLinux"]),
        module("VolumeFS", ["PoolEngine", "BlockStorage"]),
        module("PoolEngine", ["BlockStorage"]),
        module(
            "NBD", ["NBDProtocol", "LinuxIO", "BlockStorage"] + (hasTLS ? ["CGnuTLS"] : []),
            settings: hasTLS ? [.define("VOLFS_TLS")] : []),
        module("NBDProtocol", ["BlockStorage"]),
        module("LinuxIO", ["BlockStorage", "CLinux"]),
        module("BlockStorage", ["CBytes"]),

        .systemLibrary(name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .target(name: "CLinux"),
        .target(name: "CBytes"),

        // Not installed: long simulations.
        .executableTarget(name: "volfs-sim", dependencies: ["TestSupport", "PoolEngine"], swiftSettings: strict),
        // Not installed: counts what a request costs in the engine.
        .executableTarget(
            name: "volfs-bench", dependencies: ["TestSupport", "PoolEngine", "BlockStorage", "CAllocations"], swiftSettings: strict),
        .target(name: "CAllocations"),
        .target(
            name: "TestSupport", dependencies: ["PoolEngine", "LinuxIO", "BlockStorage"], path: "Tests/TestSupport",
            swiftSettings: strict),
        tests("BlockStorageTests", ["BlockStorage", "TestSupport"]),
        tests("LinuxIOTests", ["LinuxIO", "BlockStorage", "TestSupport"]),
        // Fixtures are images of every format there was; the tests find them by path.
        tests("PoolEngineTests", ["PoolEngine", "LinuxIO", "BlockStorage", "TestSupport"], excluding: ["Fixtures"]),
        tests("SimulationTests", ["PoolEngine", "BlockStorage", "TestSupport"]),
        tests("VolumeFSTests", ["VolumeFS", "PoolEngine", "LinuxIO", "BlockStorage", "TestSupport"]),
        tests("FuseFrontEndTests", ["FuseFrontEnd", "VolumeFS", "BlockStorage", "TestSupport"]),
        tests("NBDTests", ["NBD", "NBDProtocol", "PoolEngine", "LinuxIO", "BlockStorage", "TestSupport"]),
        tests("NBDProtocolTests", ["NBDProtocol", "BlockStorage", "TestSupport"]),
        tests("CommandsTests", ["Commands", "VolumeFS", "PoolEngine", "BlockStorage", "TestSupport"]),
        tests("IntegrationTests", ["TestSupport"]),
    ],
    swiftLanguageModes: [.v6]
)

if hasTLS {
    package.targets.append(.systemLibrary(name: "CGnuTLS", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]))
}

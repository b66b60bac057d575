// The C interface: the library's undefined and exported symbols, its header in C and C++, and a kernel in C that boots.

import Foundation
import ImageTools
import Testing

@Suite(.enabled(if: CLibrary.hasCompiler, "clang and ld.lld are not in PATH"))
struct CLibraryTests {
  /// The header's functions, without the inline ones.
  func declared() throws -> Set<String> {
    let parts = try ["kernel_stacks.h", "kernel_stacks_memory.h"].map {
      try String(contentsOfFile: "\(CLibrary.headerFolder)/\($0)", encoding: .utf8)
    }
    var names: Set<String> = []
    for line in parts.joined(separator: "\n").split(separator: "\n")
    where !line.hasPrefix("static") && !line.hasPrefix(" ") {
      if let match = line.firstMatch(of: #/^[A-Za-z].*?\b(ks_[a-z_]+)\(/#) { names.insert(String(match.1)) }
    }
    return names
  }

  @Test func `The library needs the CPU's number and nothing else`() async throws {
    let library = try await CLibrary.shared.path
    let undefined = try await run(
      "llvm-nm", ["--undefined-only", "--just-symbol-name", "\(library)/libkernel_stacks.a"])
    #expect(symbols(undefined) == ["ks_machine_cpu"])
  }

  @Test func `The library shows what the header declares and nothing else`() async throws {
    let library = try await CLibrary.shared.path
    let defined = try await run(
      "llvm-nm", ["--defined-only", "--extern-only", "--just-symbol-name", "\(library)/libkernel_stacks.a"])
    let blocks: Set = ["memcpy", "memmove", "memset"]
    #expect(symbols(defined) == (try declared()).subtracting(["ks_machine_cpu"]).union(blocks))
    // Symbols that a kernel may define itself are weak.
    let all = try await run("llvm-nm", ["--defined-only", "--extern-only", "\(library)/libkernel_stacks.a"])
    let weak = all.split(separator: "\n").filter { $0.contains(" W ") }.map {
      String($0.split(separator: " ")[2])
    }
    let machine: Set = [
      "ks_machine_node", "ks_machine_disable_interrupts", "ks_machine_restore_interrupts", "ks_machine_lock",
      "ks_machine_unlock",
    ]
    #expect(Set(weak) == machine.union(blocks))
  }

  @Test func `The library leaves x18 and floating point to the kernel`() async throws {
    let library = try await CLibrary.shared.path
    let code = try await run(
      "llvm-objdump", ["-d", "-r", "--no-show-raw-insn", "\(library)/libkernel_stacks.a"])
    let lines = code.split(separator: "\n")
    #expect(lines.count > 10_000)
    #expect(lines.filter { $0.contains(#/\b[xw]18\b/#) } == [])
    #expect(lines.filter { $0.contains("_GOT") || $0.contains(#/\b[qdv][0-9]+\b[,.]/#) } == [])
  }

  /// The functions of each limit that the header states.
  static let stackLimits = [
    "KS_INIT_STACK": ["ks_init", "ks_init_with_frames", "ks_init_with_addresses"],
    "KS_MAKE_STACK": ["ks_stacks_make"],
    "KS_ALLOCATE_STACK": ["ks_stack_allocate", "ks_sized_stack_allocate"],
    "KS_FREE_STACK": [
      "ks_stack_free", "ks_sized_stack_free", "ks_stacks_reclaim", "ks_stacks_serve_reclaim", "ks_stacks_age",
      "ks_stacks_end", "ks_stack_prepare_to_run",
    ],
    "KS_RECLAIM_STACK": [
      "ks_stack_allocate_for_group", "ks_stack_free_when_left", "ks_stack_lend", "ks_reclaim",
    ],
    "KS_FAULT_STACK": [
      "ks_stack_fault", "ks_stacks_take_back", "ks_stack_classify", "ks_stack_classify_address",
    ],
  ]

  /// The limits of calls that ask for frames or addresses, which are reached by a register, and come on top.
  static let limitsWithoutSources: Set = [
    "KS_MAKE_STACK", "KS_ALLOCATE_STACK", "KS_FREE_STACK", "KS_RECLAIM_STACK",
  ]

  /// A number that the header defines.
  static func defined(_ name: String) throws -> Int {
    let header = try String(contentsOfFile: "\(CLibrary.headerFolder)/kernel_stacks.h", encoding: .utf8)
    let line = try #require(header.split(separator: "\n").first { $0.hasPrefix("#define \(name) ") }, "\(name)")
    return try #require(Int(line.split(separator: " ")[2]))
  }

  @Test func `The header states the stack that a function needs, and not much more`() async throws {
    let need = StackNeed(try ElfFile(try await CLibrary.shared.linkedWhole()))
    for (limit, functions) in Self.stackLimits {
      let stated = try Self.defined(limit)
      let chains = try functions.map { try need.chain(of: $0) }
      let most = try #require(chains.max { $0.byteCount < $1.byteCount })
      let chain = most.functions.joined(separator: " calls ")
      #expect(most.byteCount <= stated, "\(limit) is \(stated); \(most.byteCount) bytes are needed: \(chain)")
      #expect(stated - most.byteCount <= 192, "\(limit) is \(stated), needed: \(most.byteCount)")
      // What is called by a register would not be counted.
      if Self.limitsWithoutSources.contains(limit) { continue }
      #expect(Set(need.callersByRegister).isDisjoint(with: most.functions))
    }
  }

  @Test func `Threads' stacks need 512 bytes for the calls that threads make`() throws {
    #expect(try Self.defined("KS_ALLOCATE_STACK") <= 512 && Self.defined("KS_FREE_STACK") <= 512)
  }

  @Test(
    arguments: [
      ["clang", "-std=c11", "-x", "c"], ["clang", "-std=c23", "-x", "c"],
      ["clang", "-std=c++11", "-x", "c++"], ["clang", "-std=c++23", "-x", "c++"],
      ["g++", "-std=c++11", "-x", "c++"], ["g++", "-std=c++20", "-x", "c++"], ["gcc", "-std=c99", "-x", "c"],
      ["clang", "--target=aarch64-none-elf", "-ffreestanding", "-x", "c"],
      ["aarch64-linux-gnu-gcc", "-std=c11", "-ffreestanding", "-x", "c"],
    ].filter { CLibrary.isInstalled($0[0]) })
  func `The header is C and C++`(_ compiler: [String]) async throws {
    // The second part can be included alone, and before the first.
    for text in [
      "#include \"kernel_stacks.h\"\nks_error error;\nks_stacks stacks;\n",
      "#include \"kernel_stacks_memory.h\"\nks_error error;\n#include \"kernel_stacks.h\"\nks_stacks stacks;\n",
    ] {
      let source = FileManager.default.temporaryDirectory.appendingPathComponent(
        "header-\(UUID().uuidString).c")
      try text.write(to: source, atomically: true, encoding: .utf8)
      defer { try? FileManager.default.removeItem(at: source) }
      let result = try await Command(
        compiler[0],
        Array(compiler.dropFirst()) + [
          "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", CLibrary.headerFolder, "-fsyntax-only",
          source.path,
        ]
      ).run()
      #expect(result.exitCode == 0, "\(result.errors)")
    }
  }

  @Test(
    .enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"),
    arguments: [(39, Guest.CPU.cortexA72), (39, .max), (48, .cortexA72)])
  func `A kernel in C runs threads where contiguous stacks are refused, and is told what it frees wrongly`(
    addressBits: Int, cpu: Guest.CPU
  ) async throws {
    var guest = Guest(kernel: try await CLibrary.shared.kernel(addressBits: addressBits))
    guest.cpu = cpu
    let run = try await guest.run()
    #expect(run.exitCode == 0, "\(run.lines.suffix(5).joined(separator: "\n"))")

    func only(_ type: String) throws -> JSON { try #require(run.records(ofType: type).first) }
    func number(_ record: JSON, _ key: String) throws -> Int { Int(try #require(record[key]?.number)) }
    let begin = try only("begin")
    #expect(try number(begin, "stackOfInit") <= Self.defined("KS_INIT_STACK"))
    #expect(try number(begin, "addressBits") == addressBits)
    #expect(try number(begin, "dirtyState") == (cpu == .max ? 1 : 0))
    #expect(try number(try only("dirty"), "isKept") == number(begin, "dirtyState"))
    // Nine registers that do not fit are refused on a CPU that comes later, too; five that differ do not matter.
    let registers = try only("registers")
    #expect(try number(registers, "refused") == 9 && number(registers, "accepted") == 5)
    let fragmented = try only("fragmented")
    #expect(try number(fragmented, "largestFreeOrder") == 0)
    let linear = try only("linear")
    #expect(try number(linear, "stacks") == 0)
    #expect(try number(linear, "requested") == 16 << 10)
    #expect(try number(linear, "largest") == 4096)
    let free = try number(fragmented, "freeFrames") * 4096
    #expect(try number(linear, "available") == free)
    #expect(
      linear["text"]?.string
        == "order 2 for a thread stack refused: \(free >> 20) MiB free, largest block 4 KiB")

    // 600 idle threads have a page each; those that went deeper have grown by their need.
    let threads = try only("threads")
    #expect(try number(threads, "count") == 600)
    #expect(try number(threads, "idleKiB") == 600 * 4)
    #expect(try number(threads, "grownPages") > 300)
    #expect((12_288..<16_384).contains(try number(threads, "deepestBytes")))
    #expect(try number(try only("shrink"), "mappedBefore") == 16 << 10)
    #expect(try number(try only("shrink"), "mappedAfter") == 4 << 10)
    #expect(
      try only("group")["text"]?.string
        == "4 KiB of stack for group 0 refused: 40 KiB of its 40 KiB are in use")
    #expect(try number(try only("left"), "threads") == 100)
    for type in ["sizes", "anySize", "changed", "pressure", "offenders", "tasks", "mapped", "asked"] {
      _ = try only(type)
    }

    // Every refusal has the code that was expected, names the address, and says it in words.
    let refusals = run.records(ofType: "refusal")
    #expect(refusals.count >= 88)
    for refusal in refusals {
      let text = try #require(refusal["text"]?.string)
      #expect(try number(refusal, "code") == number(refusal, "expected"), "\(text)")
      #expect(text.count > 10)
      if let address = refusal["address"]?.string, address != "0x0", try number(refusal, "code") == 17 {
        // Of frames, the text gives the number.
        let digits = address.dropFirst(2)
        #expect(
          text.contains(digits) || text.contains(digits.dropLast(3)), "\(text) does not name \(address)")
      }
    }
    let end = try only("end")
    #expect(try number(end, "misuses") >= 28)
    #expect(try number(end, "live") == 0)
    #expect(try number(end, "lost") == 1)
    #expect(run.lines.contains { $0.hasPrefix("Node 0, zone   Normal") })
    #expect(run.lines.contains { $0.hasSuffix("stack arena stacks") })
    #expect(run.lines.contains { $0.hasPrefix("growing stacks of 16 KiB: 0 in use") })

    // Clearing 16 KiB, or 4 of a growing stack, is 526 or 136 instructions of an allocation.
    let costs = [("linear", 526, (50, 250)), ("vmalloc", 526, (60, 80)), ("growing", 136, (60, 80))]
    for (stacks, clearing, limits) in costs {
      let cost = try #require(run.records(ofType: "cost").first { $0["stacks"]?.string == stacks })
      #expect(try number(cost, "allocate") - clearing <= limits.0, "\(stacks): \(cost)")
      #expect(try number(cost, "free") <= limits.1, "\(stacks): \(cost)")
    }
  }

  @Test(.enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"), arguments: [true, false])
  func `On four CPUs each stack has one owner, and of four that free the same one, one succeeds`(inTurn: Bool)
    async throws
  {
    var guest = Guest(kernel: try await CLibrary.shared.kernel())
    guest.cpuCount = 4
    guest.countsInstructions = inTurn
    let run = try await guest.run()
    #expect(run.exitCode == 0, "\(run.lines.suffix(5).joined(separator: "\n"))")
    let storm = try #require(run.records(ofType: "storm").first)
    #expect(storm["turns"]?.number == 1600)
    #expect(storm["racesFreed"]?.number == 40)
    #expect(storm["racesRefused"]?.number == 120)
  }

  @Test(.enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"), arguments: [8, 15, 16])
  func `A vmalloc area without a part for small areas (8 to 16 MiB) frees nothing outside on any CPU`(
    mebibytes: Int
  ) async throws {
    var guest = Guest(kernel: try await CLibrary.shared.kernel(vmallocMiB: mebibytes))
    guest.cpuCount = 4
    let run = try await guest.run()
    #expect(run.exitCode == 0, "\(run.lines.suffix(5).joined(separator: "\n"))")
    let narrow = try #require(run.records(ofType: "narrow").first)
    #expect(narrow["mebibytes"]?.number == Double(mebibytes) && narrow["cpus"]?.number == 4)
    #expect(narrow["refused"]?.number == 4 * 9 && narrow["misuses"]?.number == 4 * 9)
  }

  @Test(.enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"), arguments: [39, 48])
  func `Threads that take exceptions on their own stacks are lent pages, or wait until frames come free`(
    addressBits: Int
  ) async throws {
    var guest = Guest(kernel: try await CLibrary.shared.kernel(addressBits: addressBits, lends: true))
    guest.cpu = .max
    let run = try await guest.run()
    #expect(run.exitCode == 0, "\(run.lines.suffix(5).joined(separator: "\n"))")
    let lent = try #require(run.records(ofType: "lent").first)
    #expect(lent["idleKiB"]?.integer == 200 * 4)
    let touched = try #require(lent["touchedPages"]?.integer)
    // A page may have been touched by zeroes only, which leave no mark.
    #expect((touched...touched + 8).contains(try #require(lent["mappedPages"]?.integer)))
    #expect(touched > 400 && lent["exceptions"]?.integer == 8 * 325)
    #expect(run.records(ofType: "waited").first?["times"]?.integer == 3)
    let cost = try #require(run.records(ofType: "lendingCost").first?["instructions"]?.integer)
    #expect((40...125).contains(cost), "\(cost) instructions")
  }

  @Test(
    .enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"),
    arguments: [
      (39, Guest.CPU.cortexA72, CLibrary.Memory.library), (48, .max, .library),
      (39, .max, .ownFramesAndTables),
    ])
  func `Vectors of threads at EL1h find an overflow before they touch a neighbour, and map what they store to`(
    addressBits: Int, cpu: Guest.CPU, memory: CLibrary.Memory
  ) async throws {
    var guest = Guest(
      kernel: try await CLibrary.shared.kernel(addressBits: addressBits, hasOwnVectors: true, memory: memory))
    guest.cpu = cpu
    let run = try await guest.run()
    #expect(run.exitCode == 0, "\(run.lines.suffix(5).joined(separator: "\n"))")
    // Whole stacks, then ones that grow.
    let threads = run.records(ofType: "el1h")
    #expect(threads.map { $0["grows"]?.integer } == [0, 1])
    #expect(threads.map { $0["idleKiB"]?.integer } == [40 * 16, 40 * 4])
    for record in threads {
      #expect(try #require(record["interrupts"]?.integer) >= 40)
      #expect(try #require(record["yields"]?.integer) >= 10, "no thread gave up the CPU within an interrupt")
      #expect(try #require(record["exceptions"]?.integer) >= 400)
    }
    #expect(threads.first?["grown"]?.integer == 0)
    #expect(try #require(threads.last?["grown"]?.integer) >= 40)
    // The first stores of a thread's large frames are repeated where its stack has grown.
    let leaps = run.records(ofType: "leap").map { $0["repeats"]?.integer ?? -1 }
    #expect(leaps.count == 2 && leaps.first == 0 && leaps.last ?? 0 > 0)
    let overflows = run.records(ofType: "overflow")
    #expect(overflows.map { $0["kind"]?.string } == ["many frames", "one frame", "many frames", "one frame"])
    for overflow in overflows {
      #expect(overflow["compared"]?.integer == 2 * 16_384)
      #expect((1...2048).contains(try #require(overflow["below"]?.integer)), "\(overflow)")
    }
    #expect(run.records(ofType: "user").map { $0["calls"]?.integer } == [20, 20])
  }

  @Test(.enabled(if: CLibrary.isInstalled("aarch64-linux-gnu-gcc"), "no GNU assembler is installed"))
  func `The vectors' macros are read by the GNU assembler`() async throws {
    let root = try #require(PackageRoot.path)
    let object = FileManager.default.temporaryDirectory.appendingPathComponent("vectors-\(UUID().uuidString).o")
    defer { try? FileManager.default.removeItem(at: object) }
    let result = try await Command(
      "aarch64-linux-gnu-gcc",
      [
        "-c", "-I", "\(CLibrary.headerFolder)/../assembly", "\(root)/Fixtures/CKernel/el1h.S", "-o",
        object.path,
      ]
    ).run()
    #expect(result.exitCode == 0, "\(result.errors)")
  }

  @Test(.enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"))
  func `A CPU that sets no access flags is refused by ks_init, with the reason`() async throws {
    let run = try await Guest(kernel: try await CLibrary.shared.kernel(lends: true)).run()
    #expect(run.exitCode == 1)
    #expect(
      run.lines.last { $0.hasPrefix("failed: ") }?.hasSuffix(
        "pages cannot be lent: this CPU does not set access flags (FEAT_HAFDBS)") == true, "\(run.lines)")
  }

  @Test(arguments: ["c-interface", "joining-a-kernel"])
  func `The page's example compiles`(page name: String) async throws {
    guard CLibrary.isInstalled("clang") else { return }
    let page = try String(
      contentsOfFile: "\(try #require(PackageRoot.path))/docs/\(name).md", encoding: .utf8)
    let block = try #require(page.components(separatedBy: "```c\n").dropFirst().first)
    let source = FileManager.default.temporaryDirectory.appendingPathComponent("page-\(UUID().uuidString).c")
    try (block.components(separatedBy: "```")[0]).write(to: source, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: source) }
    _ = try await run(
      "clang",
      [
        "--target=aarch64-none-elf", "-std=c11", "-ffreestanding", "-Wall", "-Wextra", "-Werror",
        "-Wno-unused-parameter", "-fsyntax-only", "-I", CLibrary.headerFolder, source.path,
      ])
  }

  @Test func `The README's tasks are the kernel's`() throws {
    let root = try #require(PackageRoot.path)
    let readme = try String(contentsOfFile: "\(root)/README.md", encoding: .utf8)
    let tasks = try String(contentsOfFile: "\(root)/Fixtures/CKernel/tasks.c", encoding: .utf8)
    let code = try #require(tasks.range(of: "#include")).lowerBound
    #expect(readme.contains("```c\n\(tasks[code...])```"))
  }

  private func symbols(_ output: String) -> Set<String> {
    Set(output.split(separator: "\n").filter { !$0.contains(":") && !$0.isEmpty }.map { String($0) })
  }

  private func run(_ program: String, _ arguments: [String]) async throws -> String {
    let result = try await Command(CLibrary.tool(program), arguments).run()
    try #require(result.exitCode == 0, "\(program): \(result.errors)")
    return result.output
  }
}

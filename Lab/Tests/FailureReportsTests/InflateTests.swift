// Decompression, by files that gzip has made.

import Foundation
import Testing

@testable import FailureReports

@Suite struct CompressedConfigurationTests {
  private static func bytes(_ base64: String) throws -> [UInt8] {
    [UInt8](try #require(Data(base64Encoded: base64, options: .ignoreUnknownCharacters)))
  }

  /// 301 lines, the last of them `CONFIG_VMAP_STACK=y`, with a code of its own.
  private static let dynamic = """
    H4sIAAAAAAACA62XQY7bMAxF9z2NSdmOvZhFELRFMZiZoh0U3eUEOkBuP7WswOGTKE+QLhWTEqP/+T91env99uP7+e80nrun+OW0
    Lo+/Xs7ydLku/7wcf551Wy+fwxb9+vX93G9fl+Vgl6MNPmxfl4Mnu/Nsg6Wzn0Xs3qKID4hHaTJs8emPyWjLkQM2mJgw2wBFhSr2
    JhVXp8FWpP0WvxSguD0dkX9A/IT42a5DZ+MDoQ1qbyAEJOAKw8ANRvuPO1w56sfu2Ky30YRrtHsXXLLRMzYXliZgD7ASYCXASoCV
    oDwBVjKxIFao6EMF3ytssmwAWEqwFN2o4HuFTqag0BF9VBgIcAC9eqwHHICG7NCfKJ/VFHSKjjKRTsvZBxs92aNnVNKBPCD6LZmy
    NEFJcBMVNkWwCewBVjLjhIo2gQ2QT4V8KkrUAXQDWBU2oSKoZ0CFAeoZaDzoyNAjviJOoBNAoDpZciK6x+6DzR7t7fhOl9Upgk+A
    l2i1zK5gFN2O+pQoeo/ZJX6wRmU/4gKVJSoAqwkUKWVPwMCgaMsABa3ok2t3Kb7UJ5uPriz0yV6Y63bLWcXc9FmzW5IbZkc6pTU6
    SyidldHJJhCpWzatPzTsLuuT73YJa3bjA26X5Slidrp4XErxFNCKPFlyoCNbZpdnJ9fsQKasTp7brVP4fzI7qBPM7jo6RdCpECfX
    7lICtVMgng/ZXUKv4XaZTdGbxMmme81upXPL7Qo+Xaen6E7j6w9oy1vHWwNA+pJT0REoGF4eoGJToTy/a7/sVkZFdxjfe9pxGCeh
    sj7FXX0qGGWPuMfu9h53u3aX1o3X3Z7b5fnJfd1lgbpAoNzHHecnul11GrcdAXWze33e7dIaWt2wuwRdw+4KfSKdHre7RNh77C6B
    e4fdXdnk+l1mExLQkq3XnStQruPxebcmNN53lKeUQBngX2h73u/34+n5328fKZul5csSAAA=
    """

  @Test func `are unpacked whole`() throws {
    let text = String(decoding: try #require(Inflate.gunzip(try Self.bytes(Self.dynamic))), as: UTF8.self)
    #expect(text.utf8.count == 4811)
    #expect(text.split(separator: "\n").count == 301)
    #expect(text.hasSuffix("CONFIG_VMAP_STACK=y\n"))
  }

  @Test func `with the fixed code and without any are unpacked too`() throws {
    for file in [
      "H4sIAAAAAAACA3P293PzdI8P83UMiA8OcXT2tq3kAgB3n9G8FAAAAA==",
      "H4sIAAAAAAAEAwEUAOv/Q09ORklHX1ZNQVBfU1RBQ0s9eQp3n9G8FAAAAA==",
    ] {
      let text = try #require(Inflate.gunzip(try Self.bytes(file)))
      #expect(String(decoding: text, as: UTF8.self) == "CONFIG_VMAP_STACK=y\n")
    }
  }

  @Test func `that are damaged give nothing, or something, but never trap`() throws {
    let file = try Self.bytes(Self.dynamic)
    for length in 0..<file.count { _ = Inflate.gunzip(Array(file.prefix(length))) }
    #expect(Inflate.gunzip(Array(file.prefix(file.count / 2))) == nil)
    for index in 10..<file.count {
      var damaged = file
      damaged[index] ^= 0x55
      _ = Inflate.gunzip(damaged)
    }
  }
}

// Checked builds only: which frames of the kernel the library has now, so that one that is handed out twice is found.
#if hasFeature(Embedded) && CHECKED_FUNCTIONS
  import KernelMachine
  import KernelStacksCHeader

  /// A set of frames' addresses, in static memory: a hash table with linear probing, under a lock.
  ///
  /// Frames beyond three quarters of its places are not kept, and so not found.
  enum FrameSet {
    private static var mask: Int { Int(KS_CHECKED_FRAMES) &- 1 }
    private static var places: UnsafeMutablePointer<UInt64> { ks_checked_frames() }

    /// Adds a frame; returns whether it was not there.
    static func insert(_ physical: UInt64) -> Bool {
      let interrupts = ks_machine_lock(ks_checked_frames_lock())
      defer { ks_machine_unlock(ks_checked_frames_lock(), interrupts) }
      var index = home(of: physical)
      while places[index] != 0 {
        if places[index] == physical { return false }
        index = (index &+ 1) & mask
      }
      guard ks_checked_frame_count().pointee < UInt64(KS_CHECKED_FRAMES) / 4 &* 3 else { return true }
      places[index] = physical
      ks_checked_frame_count().pointee &+= 1
      return true
    }

    /// Removes a frame, if it is there.
    static func remove(_ physical: UInt64) {
      let interrupts = ks_machine_lock(ks_checked_frames_lock())
      defer { ks_machine_unlock(ks_checked_frames_lock(), interrupts) }
      var index = home(of: physical)
      while places[index] != physical {
        if places[index] == 0 { return }
        index = (index &+ 1) & mask
      }
      ks_checked_frame_count().pointee &-= 1
      // What could not be reached over the hole is moved into it.
      var hole = index
      while true {
        index = (index &+ 1) & mask
        if places[index] == 0 { break }
        if (index &- home(of: places[index])) & mask >= (index &- hole) & mask {
          places[hole] = places[index]
          hole = index
        }
      }
      places[hole] = 0
    }

    private static func home(of physical: UInt64) -> Int {
      Int(truncatingIfNeeded: (physical &>> 12 &* 0x9e37_79b9_7f4a_7c15) &>> 40) & mask
    }
  }
#endif

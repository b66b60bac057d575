// Who does what with the page frames of one node (docs/frame-lists.md): requests that look for a frame wherever it may be, CPUs
// that give back, that clear when idle, that pause clearing and look at blocks, and a CPU that goes offline.
//
// The steps are those of frames.pml. Which CPU does what is chosen for each search.

#include "frames.pml"

/* What CPU 0, and what the others do: sets of the following. */
#ifndef FIRST_DOES
#define FIRST_DOES  255
#endif
#ifndef OTHERS_DO
#define OTHERS_DO   255
#endif
#define PLAIN   1   /* requests for a frame */
#define ZEROED  2   /* … for a cleared one */
#define PAIRS   4   /* … for two neighbours */
#define GIVING  8
#define IDLING  16  /* clearing */
#define PAUSING 32
#define MERGING 64  /* while they pause */
#define GOING   128 /* offline */
#define may(what) (((c == 0 -> (FIRST_DOES) : (OTHERS_DO)) & (what)) != 0)

/* ---- Clearing and pauses (BuddyAllocator+Zeroed) ---- */

inline zeroOneFrame(c) {
  enqueue(c)
  atomic {
    mayLock(c) ->
    if
    :: mayClear ->
       pick();
       d_step {
         startClearing(f);
#ifdef CLEARS_IN_ITS_BLOCK
         tag[f] = block;
#endif
#ifdef PUBLISHES_FIRST
         publish(f);
#endif
         passOn; checkNode(); checkFigures() }
    :: else -> d_step { f = NONE; passOn }
    fi };
  if
  :: f != NONE ->
#ifdef STOPS_WHILE_CLEARING
     if
     :: c == CPUS - 1 -> stopped = true; !stopped
     :: true
     fi;
#endif
     clear(f);
     enqueue(c)
     d_step {
       mayLock(c) ->
#ifdef CLEARS_IN_ITS_BLOCK
       tag[f] = listed;
#endif
#ifndef PUBLISHES_FIRST
       publish(f);
#endif
       f = NONE; passOn; checkNode(); checkFigures() }
  :: else
  fi
}
inline pauseClearing(c) {
  enqueue(c)
  d_step { mayLock(c) -> lock = true; startPause(c) };
  do
  :: atomic { seePause(c); if :: !pausing[c] -> break :: else fi };
     enqueue(c)
     d_step { mayLock(c) -> lock = true }
  od
}

/* ---- Merging (BuddyAllocator+Drain) ---- */

inline drainZeroedPool(c) {
  do
  :: count[pool] == 0 -> break
  :: else -> mergePool(c)
  od
}
inline drainLists(c, j) {
  if
  :: count[ready(j)] + count[zeroed(j)] == 0
  :: else -> mergeLists(c, j)
  fi
}
inline drain(c) {
  drainZeroedPool(c);
  drainLists(c, 0);
  drainLists(c, 1)
#if CPUS > 2
  ; drainLists(c, 2)
#endif
}

/* ---- Requests (BuddyAllocator+FrameSource, +SlowPaths) ---- */

inline takeDrained(c) {
  if
  :: drained -> drained = false; takeBlock(c)
  :: else
  fi
}
#ifdef LOOKS_AT_COUNT_FIRST
#define isThereAny (isPairWanted || freeFrames + count[0] + count[1] + count[2] + count[3] > 0)
#else
#define isThereAny true
#endif
#ifdef NO_LAST_LOOK_FOR_BLOCKS
#define mayLookAgain (!isPairWanted)
#else
#define mayLookAgain true
#endif

inline takeDraining(c) {
  drainZeroedPool(c);
  takeDrained(c);
  if
  :: f == NONE -> drainLists(c, 0); takeDrained(c)
  :: else
  fi;
  if
  :: f == NONE -> drainLists(c, 1); takeDrained(c)
  :: else
  fi;
#if CPUS > 2
  if
  :: f == NONE -> drainLists(c, 2); takeDrained(c)
  :: else
  fi;
#endif
  if
  :: f == NONE && mayLookAgain && isThereAny -> takeLast(c)
  :: else
  fi
}

/* One CPU's request begins; CPUs that compare blocks learn that frames move. */
inline begin(c) {
  moving[c] = true;
  if
  :: c == 0 -> for (i : 0 .. FRAMES - 1) { steady = steady | (given[i] -> 0 : 1 << i) } i = 0
  :: else -> calm = false
  fi
}
inline finish(c) { d_step { moving[c] = false; steady = (c == 0 -> 0 : steady); checkFigures() } }

#define pairs(set)      ((set) & ((set) >> 1) & 5)

/* What is refused was not there all the while, wherever it was. */
inline handOut(c) {
  d_step {
    if
    :: f == NONE -> assert(c != 0 || (isPairWanted -> pairs(steady) : steady) == 0)
    :: f != NONE && isPairWanted ->
       dirty[f] = true; dirty[f ^ 1] = true; tag[f] = used; tag[f ^ 1] = used; whole[f / 2] = true
    :: else ->
       if
       :: isDirty -> dirty[f] = false
       :: else
       fi;
       assert(!cleared || !dirty[f]);
       dirty[f] = true; tag[f] = used
    fi;
    f = NONE; isDirty = false; cleared = false; isPairWanted = false }
}

inline allocate(c) {
  if
  :: isPairWanted
  :: !isPairWanted && cleared -> pop(zeroed(c))
  :: !isPairWanted && !cleared -> pop(ready(c))
  fi;
  if
  :: f == NONE && cleared && count[pool] != 0 -> fillZeroed(c); pop(zeroed(c))
  :: else
  fi;
  if
  :: f == NONE && !isPairWanted ->
     isDirty = cleared;
     pop(ready(c));
     if
     :: f == NONE -> fillReady(c); pop(ready(c))
     :: else
     fi;
     if
     :: f == NONE -> isDirty = false; fillZeroed(c); pop(zeroed(c))
     :: else
     fi
  :: else
  fi;
  if
  :: f == NONE -> isDirty = cleared; takeBlock(c)
  :: else
  fi;
  if
  :: f == NONE ->
#ifndef REFUSES_WITHOUT_PAUSE
     pauseClearing(c);
#endif
     takeDraining(c);
#ifndef REFUSES_WITHOUT_PAUSE
     resumeClearing(c)
#endif
  :: else
  fi;
  handOut(c);
  finish(c)
}

#ifdef GIVES_TO_ZEROED
#define LIST_OF_GIVEN zeroed
#else
#define LIST_OF_GIVEN ready
#endif

/* The owner of a frame can give it back. */
inline give(c) {
  if
  :: whole[f / 2] ->
     enqueue(c)
     d_step { mayLock(c) ->
       gave(f); gave(f ^ 1); tag[f] = block; tag[f ^ 1] = block; freeFrames = freeFrames + 2; whole[f / 2] = false;
       f = NONE; passOn; checkNode() }
  :: else ->
     if
     :: count[ready(c)] >= LIMIT -> giveBatchBack(c)
     :: else
     fi;
     push(LIST_OF_GIVEN(c))
  fi;
  finish(c)
}

/* While clearing is paused, only what others do now can hide a free frame from a CPU that merges all and compares blocks. */
inline compare(c) {
  drain(c);
  d_step {
    if
    :: calm && c == 0 -> for (i : 0 .. FRAMES - 1) { assert(tag[i] == block || given[i]) } i = 0
    :: else
    fi;
    calm = (c == 0 -> false : calm); drained = false };
  finish(c)
}

#define LAST (CPUS - 1)

proctype cpu(byte c) {
  byte f = NONE, k, n, wf, wc;
  bool cleared, isDirty, isPairWanted, drained, isInPause;
endIdle:
  do
  :: atomic {
       if
       :: may(PLAIN)
       :: may(ZEROED) -> cleared = true
       :: may(PAIRS) -> isPairWanted = true
       fi;
       d_step { begin(c) } };
     allocate(c)
  :: atomic {
       if
       :: may(GIVING) && tag[0] == used -> f = 0
       :: may(GIVING) && tag[1] == used && !whole[0] -> f = 1
       :: may(GIVING) && tag[2] == used -> f = 2
       :: may(GIVING) && !ABSENT && tag[3] == used && !whole[1] -> f = 3
       fi;
       d_step { begin(c); assert(dirty[f]); tag[f] = listed; tag[f ^ 1] = (whole[f / 2] -> listed : tag[f ^ 1]) } };
     give(c)
  :: may(IDLING) && count[pool] < POOL -> zeroOneFrame(c)
  :: may(PAUSING) && !isInPause -> pauseClearing(c); isInPause = true
  :: isInPause -> resumeClearing(c); isInPause = false
  :: d_step { may(MERGING) && isInPause -> begin(c); calm = (c == 0 -> !isMovingBut(c) : calm) }; compare(c)
  :: may(GOING) && c == LAST && !isInPause -> stopped = true; endOffline: !stopped
  :: d_step { c != LAST && stopped -> begin(c) };
     drainLists(c, LAST);
     d_step { assert(count[ready(LAST)] + count[zeroed(LAST)] == 0); stopped = false; drained = false };
     finish(c)
  od
}

init {
  atomic {
    for (i : 0 .. FRAMES - 1) { tag[i] = block; dirty[i] = true; next[i] = NONE }
    freeFrames = FRAMES - ABSENT; i = 0;
    if
    :: ABSENT -> tag[FRAMES - 1] = used; given[FRAMES - 1] = true
    :: else
    fi;
    for (x : 0 .. CPUS - 1) { run cpu(x) }
    x = 0
  }
}

#ifdef PAUSE_ENDS
never {
  do
  :: true
  :: pausing[0] -> break
  od;
accept:
  do
  :: pausing[0]
  od
}
#endif

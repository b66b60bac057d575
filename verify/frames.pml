// The page frames of one node (docs/frame-lists.md): blocks, the pool of zeroed frames that idle CPUs fill, each CPU's two
// lists, and every step that moves a frame. clearing.pml says who takes them when.
//
// Frames have identities, links and contents. What the code does under a lock and others see without it is several steps:
// the words of lists and pool, the count of free frames. What it does without a lock is one step for each load, store and
// compare-and-swap. Which frames lie together in a block follows from which are free, so blocks are nothing but tags.
//
// Each step is an inline of its own, or part of one; clearing-replay.pml replays traces of the code by the same inlines.

#ifndef CPUS
#define CPUS   2
#endif
#ifndef FRAMES
#define FRAMES 4    /* two pairs of buddies */
#endif
#ifndef POOL
#define POOL   1    /* zeroed frames in the pool at most */
#endif
#ifndef LIMIT
#define LIMIT  2    /* of a CPU's list */
#endif
#define BATCH  2    /* what an empty list gets */
#ifndef SPILL
#define SPILL  1    /* what a full one gives back */
#endif
#ifndef ABSENT
#define ABSENT 1    /* the last frame is none: its buddy is never part of a pair */
#endif
#define NONE   255

/* Lists, by number: a word of each is the first frame and the count. */
#define ready(c)  (2 * (c))
#define zeroed(c) (2 * (c) + 1)
#define pool      (2 * CPUS)
#define LISTS     (2 * CPUS + 1)

mtype:tag = { block, listed, used };

/* What the code has. */
mtype:tag tag[FRAMES];
bool whole[FRAMES / 2];     /* a pair of buddies has been handed out as one block */
byte next[FRAMES];
byte first[LISTS], count[LISTS];
byte freeFrames;            /* of the node: in blocks, in the pool, and being cleared */
byte clearing, pauses;
bool lock;

/* What is in a frame: zeroes or not. Its owner never leaves it zero. */
bool dirty[FRAMES];

/* For the assertions only: no CPU knows these. */
bool given[FRAMES];         /* not free: from the step that takes it to the one that puts it back */
byte steady;                /* the frames that have been free ever since CPU 0's request began, a bit each */
bool moving[CPUS];          /* it is at something that moves frames, other than clearing */
bool calm;                  /* no other CPU has moved a frame since CPU 0 began to merge */
byte paused;                /* CPUs that rely on a pause */
bool pausing[CPUS];         /* it waits in pauseClearing */
bool stopped;               /* the last CPU is offline */

/* Within a step only. */
byte i, x, sum;
short seen;

/* ---- What has to hold ---- */

#ifdef REPLAY
#define forget(frame) skip
#else
#define forget(frame) steady = steady & ~(1 << (frame))
#endif

inline took(frame) {
  assert(!given[frame]);
  given[frame] = true; forget(frame)
}
inline gave(frame) { assert(given[frame]); given[frame] = false }

#ifdef CLEARS_IN_ITS_BLOCK
#define beingCleared 0
#else
#define beingCleared clearing
#endif

/* Exact whenever the lock is free. */
inline checkNode() {
  sum = count[pool] + beingCleared;
  for (i : 0 .. FRAMES - 1) { sum = sum + (tag[i] == block) }
  assert(freeFrames == sum);
  i = 0; sum = 0
}
#define isMoving       (moving[0] || moving[1] || moving[CPUS - 1])
#define isMovingBut(c) (moving[(c + 1) % CPUS] || moving[(c + CPUS - 1) % CPUS])

#ifdef REPLAY
#define checkFigures() skip
#else
/* While only idle CPUs move frames: the count of free frames is right, and each free frame is in one place. */
inline checkFigures() {
  if
  :: isMoving
  :: else ->
     sum = freeFrames;
     for (i : 0 .. LISTS - 1) {
       sum = sum + (i != pool -> count[i] : 0);
       x = first[i];
       seen = seen + (count[i] << 8);
       do
       :: seen >= 256 -> assert(tag[x] == listed && !((seen >> x) & 1)); seen = (seen | (1 << x)) - 256; x = next[x]
       :: else -> break
       od
     }
     x = 0;
     for (i : 0 .. FRAMES - 1) {
       sum = sum + given[i];
       assert(given[i] == (tag[i] == used));
       x = x + (tag[i] == listed && !((seen >> i) & 1))
     }
     assert(sum == FRAMES);
     assert(x == beingCleared);   /* on their way to the pool; no other is lost */
     i = 0; x = 0; sum = 0; seen = 0
  fi
}
#endif
inline checkPause() { assert(paused == 0 || clearing == 0) }

/* ---- The node's lock ---- */

/* Some steps pass between two of them; a queue is only needed for what has to come about. */
#ifdef FAIR
byte head, tail, ticket[CPUS];
#define QUEUE      (CPUS + 1)
#define enqueue(c) d_step { ticket[c] = tail; tail = (tail + 1) % QUEUE };
#define mayLock(c) (!lock && ticket[c] == head)
#define passOn     head = (head + 1) % QUEUE; ticket[c] = 0
#else
#define enqueue(c)
#define mayLock(c) (!lock)
#define passOn     skip
#endif
#define unlock     lock = false; passOn; checkNode()

/* ---- Blocks; the lock is held ---- */

#define isSingle(f) (tag[f] == block && tag[(f) ^ 1] != block)
#define isPair(f)   (tag[f] == block && tag[(f) ^ 1] == block)
#define anySingle   (isSingle(0) || isSingle(1) || isSingle(2) || isSingle(3))
#define anyBlock    (tag[0] == block || tag[1] == block || tag[2] == block || tag[3] == block)

#ifdef REPLAY
byte wanted = NONE;   /* what the trace says */
inline pick()     { assert(tag[wanted] == block); f = wanted }
inline pickPair() { assert(isPair(wanted)); f = wanted }
#define hasBlock     (wanted != NONE)
#define hasPair      (wanted != NONE)
#define hasMore      (left > 0)
#define together(f)  false
#else
/* From the smallest block there is; of those, from any. */
inline pick() {
  if
  :: isSingle(0) -> f = 0
  :: isSingle(1) -> f = 1
  :: isSingle(2) -> f = 2
  :: isSingle(3) -> f = 3
  :: !anySingle && isPair(0) -> f = 0
  :: !anySingle && isPair(2) -> f = 2
  fi
}
inline pickPair() {
  if
  :: isPair(0) -> f = 0
  :: isPair(2) -> f = 2
  fi
}
#define nextWanted() skip
#define hasBlock     anyBlock
#define hasPair      (isPair(0) || isPair(2))
#define hasMore      (wc + k < LIMIT && k < BATCH && anyBlock)
/* A block as a whole, if there is room: the rest of it would be in pieces. */
#define together(f)  (isPair(f) && wc + k + 2 <= LIMIT)
#endif
/* Frames that are linked from wf, wc of them; a stale link leads nowhere. */
inline release() {
  freeFrames = freeFrames + wc;
  do
  :: wc > 0 ->
     assert(tag[wf] == listed);
     x = next[wf]; next[wf] = NONE; tag[wf] = block; wf = x; wc--
  :: else -> break
  od;
  x = 0; wf = 0
}
inline takeAll(list) { wf = first[list]; wc = count[list]; first[list] = 0; count[list] = 0 }

/* The first k of a list leave it, under the lock; they stay linked from wf, wc of them. */
inline takeFirst(list, k) {
  wf = first[list]; wc = k; x = wf;
  for (i : 1 .. wc) { x = next[x] }
  count[list] = count[list] - wc; first[list] = (count[list] > 0 -> x : 0); i = 0; x = 0
}

/* ---- The lists of the CPU itself: no lock (BuddyAllocator+CPULists) ---- */

inline look(list) { d_step { wf = first[list]; wc = count[list] } }

#ifdef FIRST_ONLY
#define isSame(list) (first[list] == wf)
#else
#define isSame(list) (first[list] == wf && count[list] == wc)
#endif

inline swapPopped(list) {
  d_step {
    if
    :: isSame(list) -> f = wf; took(f); next[f] = NONE; count[list] = wc - 1; first[list] = (wc > 1 -> n : 0)
    :: else
    fi;
    wf = 0; wc = 0; n = 0 }
}
/* f: the frame, or NONE. */
inline pop(list) {
  do
  :: atomic {
       look(list);
       if
       :: wc == 0 -> wf = 0; f = NONE; break
       :: else
       fi };
     n = next[wf];
     atomic {
       f = NONE;
       swapPopped(list);
       if
       :: f != NONE -> break
       :: else
       fi }
  od
}
inline push(list) {
  do
  :: d_step { wf = first[list]; wc = count[list]; next[f] = wf };
     atomic {
       if
       :: isSame(list) -> first[list] = f; count[list] = wc + 1; gave(f); f = NONE; wf = 0; wc = 0; break
       :: else -> wf = 0; wc = 0
       fi }
  od
}

/* ---- Between lists and node (BuddyAllocator+Refill) ---- */

inline fillReady(c) {
  enqueue(c)
  atomic {
    mayLock(c) -> lock = true; wf = first[ready(c)]; wc = count[ready(c)]; n = wf; k = 0;
    do
    :: hasMore ->
       nextWanted();
       pick();
       d_step {
         if
         :: together(f) -> tag[f ^ 1] = listed; next[f ^ 1] = n; n = f ^ 1; k++
         :: else
         fi;
         tag[f] = listed; next[f] = n; n = f; k++ }
    :: else -> break
    od;
    f = NONE };
  freeFrames = freeFrames - k;
  d_step {
    if
    :: first[ready(c)] == wf && count[ready(c)] == wc -> first[ready(c)] = n; count[ready(c)] = wc + k
    :: else   /* the code does not ask: it can't be */
    fi;
    wf = 0; wc = 0; n = 0; k = 0; unlock }
}
inline fillZeroed(c) {
  enqueue(c)
  d_step { mayLock(c) -> lock = true; n = count[pool]; n = (n < LIMIT - count[zeroed(c)] -> n : LIMIT - count[zeroed(c)]);
    takeFirst(pool, n); n = 0 };
  freeFrames = freeFrames - wc;
  d_step {
    if
    :: wc > 0 ->
       x = wf;
       for (i : 2 .. wc) { x = next[x] }
       next[x] = first[zeroed(c)]; first[zeroed(c)] = wf; count[zeroed(c)] = count[zeroed(c)] + wc; x = 0; i = 0
    :: else
    fi;
    wf = 0; wc = 0; unlock }
}
/* Of a full list those stay that came last. */
inline giveBatchBack(c) {
  enqueue(c)
  d_step { mayLock(c) -> lock = true;
    wf = first[ready(c)]; wc = count[ready(c)];
    if
    :: wc > SPILL ->
       count[ready(c)] = wc - SPILL;
       for (i : 1 .. wc - SPILL) { wf = next[wf] }
       wc = SPILL; i = 0
    :: else -> wf = 0; wc = 0
    fi };
  d_step { release(); unlock }
}

/* ---- Clearing (BuddyAllocator+Zeroed) ---- */

inline startClearing(frame) {
  tag[frame] = listed; next[frame] = NONE; clearing++;
#ifdef NOT_COUNTED
  freeFrames--;
#endif
  assert(paused == 0)
}
inline clear(frame) { d_step { assert(!given[frame]); dirty[frame] = false } }

#ifdef NOT_COUNTED
#define countAgain freeFrames++
#else
#define countAgain skip
#endif
inline publish(frame) { clearing--; countAgain; next[frame] = first[pool]; first[pool] = frame; count[pool]++ }

#ifdef CLEARS_WHILE_PAUSED
#define mayClear (count[pool] + clearing < POOL && freeFrames - count[pool] - clearing > POOL)
#else
#define mayClear (pauses == 0 && count[pool] + clearing < POOL && freeFrames - count[pool] - clearing > POOL)
#endif

#ifdef PAUSE_IS_A_FLAG
#define onePause  pauses = 1
#define noPause   pauses = 0
#else
#define onePause  pauses++
#define noPause   pauses--
#endif
#ifdef PAUSE_DOES_NOT_WAIT
#define allDone   true
#else
#define allDone   (clearing == 0)
#endif

inline startPause(c) { onePause; pausing[c] = true }
inline seePause(c) {
  d_step {
    if
    :: allDone -> pausing[c] = false; paused++
    :: else
    fi;
    unlock; checkPause() }
}
inline resumeClearing(c) {
  enqueue(c)
  d_step { mayLock(c) -> checkPause(); paused--; noPause; passOn }
}

/* ---- Merging (BuddyAllocator+Drain) ---- */

inline mergePool(c) {
  enqueue(c)
  d_step { mayLock(c) -> lock = true; k = (count[pool] < LIMIT -> count[pool] : LIMIT); takeFirst(pool, k); k = 0 };
  freeFrames = freeFrames - wc;
  d_step { release(); drained = true; unlock }
}
inline mergeLists(c, j) {
  enqueue(c)
#ifdef TAKES_WITHOUT_LOCK
  d_step { takeAll(ready(j)) };
  d_step { mayLock(c) -> lock = true };
#else
  d_step { mayLock(c) -> lock = true; takeAll(ready(j)) };
#endif
  d_step { release(); takeAll(zeroed(j)); release(); drained = true; unlock }
}
/* ---- Handing out under the lock (BuddyAllocator+SlowPaths, +Drain) ---- */

/* f: the frame, or NONE; of a pair its first. */
inline takeLocked() {
  if
  :: !isPairWanted && hasBlock -> pick(); d_step { tag[f] = listed; freeFrames--; took(f) }
  :: isPairWanted && hasPair -> pickPair()
  :: else -> f = NONE
  fi;
  if
  :: isPairWanted && f != NONE ->
     d_step { tag[f] = listed; tag[f ^ 1] = listed; freeFrames = freeFrames - 2; took(f); took(f ^ 1) }
  :: else
  fi
}
inline takeBlock(c) {
  enqueue(c)
  atomic { mayLock(c) -> takeLocked(); d_step { passOn; checkNode() } }
}
/* Everything under one lock. */
inline takeLast(c) {
  enqueue(c)
  d_step { mayLock(c) -> lock = true; k = count[pool]; takeFirst(pool, k); freeFrames = freeFrames - wc; release() };
  k = 0;
  do
  :: d_step { k < pool -> takeAll(k); release(); k++ }
  :: k == pool -> k = 0; break
  od;
  atomic { takeLocked(); d_step { unlock } }
}

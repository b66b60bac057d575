// ASIDs by generations (Lab/Kernel/Sources/KernelProcesses/AddressSpaceTags.swift): no CPU walks an address space with an
// ASID under which it has cached translations of another.
//
// Two CPUs switch between address spaces, and end some. A walker may cache, at any time, translations of the space that TTBR0
// holds under the ASID that this holds; it does so as early as it can, since more in a cache is never less wrong. A tag is a
// generation and an ASID. Ended spaces leave what is cached of them under ASIDs that were theirs before: those translations
// count as another's. Each access is one step, seen by all at once; that their order is kept on a real machine is for the litmus
// tests to prove (asid-claim, asid-kept).

#define CPUS 2
#ifndef SPACES
#define SPACES 3
#endif
#define IDS 5             /* ASIDs 1 to 5: two kept for each CPU, and one more */
#ifndef GENERATIONS
#define GENERATIONS 2
#endif
#define NONE 255
#define DEAD SPACES       /* the translations of spaces that are no more */

#define tagOf(g, i) ((g) * 8 + (i))
#define generationOf(t) ((t) / 8)
#define idOf(t) ((t) % 8)

byte tag[SPACES];
byte owner[SPACES];       /* the CPU that has it, or NONE */
byte claimed[CPUS], used[CPUS];
byte keptClaim[CPUS], keptUse[CPUS];
byte generation = 1;
byte taken = 56;          /* a bit for each ASID; three are of spaces that are no more */
bool lock;
byte ttbrId[CPUS], ttbrSpace[CPUS];
byte cached[CPUS * 8];    /* for each ASID, a bit for each space */

#define tlb(c, i) cached[(c) * 8 + (i)]

/* What a CPU walks it has cached; nothing of another space may be there. */
inline walk(c) {
  if
  :: ttbrSpace[c] != NONE ->
     assert((tlb(c, ttbrId[c]) & ~(1 << ttbrSpace[c])) == 0);
     tlb(c, ttbrId[c]) = 1 << ttbrSpace[c]
  :: else
  fi
}

/* Drops, on a CPU, the translations of all ASIDs that are not taken; what it walks it may cache again at once. */
inline drop(c) {
  i = 1;
  do
  :: i <= IDS ->
     if
     :: (taken >> i) & 1
     :: else -> tlb(c, i) = 0
     fi;
     i++
  :: else -> break
  od;
  walk(c)
}

/* With the lock: only the CPUs' own words, the generation and what is cached are others' affair meanwhile. */
inline rollOver() {
  d_step { generation++; taken = 0; n = 0 }
  do
  :: n < CPUS ->
     d_step {
       if
       :: claimed[n] != 0 -> keptClaim[n] = claimed[n]
       :: else
       fi;
#ifndef NO_EXCHANGE
       claimed[n] = 0
#endif
     }
     d_step {
#ifndef USE_NOT_KEPT
       keptUse[n] = used[n];
       taken = taken | (1 << idOf(keptUse[n]));
#endif
       taken = taken | (1 << idOf(keptClaim[n]));
       n++
     }
  :: else -> break
  od;
#ifndef NO_DROP
  n = 0;
  do
  :: n < CPUS -> d_step { drop(n); n++ }
  :: else -> break
  od;
#endif
  n = 0
}

/* The lowest ASID that is free, in i; 0 if there is none. */
inline find() {
  i = 1;
  do
  :: i <= IDS && ((taken >> i) & 1) -> i++
  :: else -> break
  od;
  if
  :: i > IDS -> i = 0
  :: else
  fi
}

/* Lets a space that kept its ASID go on with it: i is that, or 0. */
inline keep(s) {
  n = 0; i = 0;
  do
  :: n < CPUS ->
     if
     :: tag[s] != 0 && keptClaim[n] == tag[s] -> keptClaim[n] = tagOf(generation, idOf(tag[s])); i = idOf(tag[s])
     :: else
     fi;
     if
     :: tag[s] != 0 && keptUse[n] == tag[s] -> keptUse[n] = tagOf(generation, idOf(tag[s])); i = idOf(tag[s])
     :: else
     fi;
     n++
  :: else -> break
  od;
  n = 0
}

proctype cpu(byte c) {
  byte space = NONE, next, last, i, n;
  bool isClaimed;
end_idle:
  do
  :: /* A space that no CPU has: the scheduler sees to it. */
     atomic {
       if
       :: owner[0] == NONE -> next = 0
       :: owner[1] == NONE -> next = 1
#if SPACES > 2
       :: owner[2] == NONE -> next = 2
#endif
       fi;
       owner[next] = c
     }
     last = claimed[c];
     if
     :: last != 0 && generationOf(tag[next]) == generation ->
        d_step {
#ifndef NO_COMPARE
          if
          :: claimed[c] == last ->
#endif
             claimed[c] = tag[next]; isClaimed = true
#ifndef NO_COMPARE
          :: else
          fi
#endif
          ; last = 0
        }
     :: else -> last = 0
     fi;
     if
     :: isClaimed
     :: else ->
end_lock:
        atomic {
          !lock -> lock = true;
          d_step {
            if
            :: generationOf(tag[next]) == generation -> i = idOf(tag[next])
            :: else ->
               keep(next);
               if
               :: i == 0 -> find()
               :: else
               fi
            fi
          }
        }
        if
        :: i == 0 ->
end_generations:
           generation < GENERATIONS;   /* the search ends here */
           rollOver();
           d_step { find(); assert(i != 0) }
        :: else
        fi;
        d_step {
          taken = taken | (1 << i);
          tag[next] = tagOf(generation, i);
          claimed[c] = tag[next];
          lock = false; i = 0
        }
     fi;
#ifdef USED_TOO_EARLY
     used[c] = tag[next];
#endif
     d_step { ttbrId[c] = idOf(tag[next]); ttbrSpace[c] = next; walk(c) }
#ifndef USED_TOO_EARLY
     used[c] = tag[next];
#endif
     /* What the CPU had before is anybody's now. */
     d_step {
       if
       :: space != NONE -> owner[space] = NONE
       :: else
       fi;
       space = next; next = 0; isClaimed = false
     }
#ifdef ENDS
  :: /* The space ends: the CPU has an empty root meanwhile, and all drop what they have of its ASID. */
     space != NONE ->
     ttbrSpace[c] = NONE;
     d_step {
       n = 0;
       do
       :: n < CPUS ->
          i = 1;
          do
          :: i <= IDS ->
             if
             :: i == idOf(tag[space]) -> tlb(n, i) = 0
             :: i != idOf(tag[space]) && ((tlb(n, i) >> space) & 1) ->
                tlb(n, i) = (tlb(n, i) & ~(1 << space)) | (1 << DEAD)
             :: else
             fi;
             i++
          :: else -> break
          od;
          n++
       :: else -> break
       od;
       n = 0; i = 0;
       tag[space] = 0;
       owner[space] = NONE;
       space = NONE
     }
#endif
  od
}

init {
  atomic {
    byte k = 0;
    do
    :: k < SPACES -> owner[k] = NONE; k++
    :: else -> break
    od;
    k = 0;
    do
    :: k < CPUS -> ttbrSpace[k] = NONE; run cpu(k); k++
    :: else -> break
    od
  }
}

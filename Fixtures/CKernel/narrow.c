// A vmalloc area of VMALLOC_MIB MiB, so narrow that it may have no part for small areas: what lies outside of it is refused
// on every CPU.
#include "board.h"
#include "parts.h"

static uint64_t refused;

static void free_outside(uint32_t cpu) {
  (void)cpu;
  char *start = (char *)VMALLOC_START, *end = start + ((uint64_t)VMALLOC_MIB << 20);
  char *outside[] = {end,          end + 8,        end + 4096,    end + (2 << 20), end + (1 << 30),
                     start - 4096, linear_address(RAM_START), image_end, (char *)(UINTPTR_MAX - 4095)};
  for (size_t index = 0; index < sizeof outside / sizeof *outside; index++) {
    ks_error error = {0};
    must(ks_vfree(outside[index], &error) == KS_FOREIGN_ADDRESS, "an address outside of the area was freed");
    must(error.address == (uintptr_t)outside[index], "the refusal does not name the address");
    __atomic_fetch_add(&refused, 1, __ATOMIC_RELAXED);
  }
}

void use_narrow_area(ks_configuration configuration) {
  configuration.vmalloc_start = VMALLOC_START;
  configuration.vmalloc_end = VMALLOC_START + ((uint64_t)VMALLOC_MIB << 20);
  ks_error error;
  must(ks_init(&configuration, &error) == KS_OK, error.text);
  uint64_t *areas[] = {
      ks_vmalloc(4096, 4096, KS_ANY_NODE, "small", &error), ks_vmalloc(1 << 20, 4096, KS_ANY_NODE, "large", &error)};
  must(areas[0] && areas[1], error.text);
  areas[0][0] = areas[1][0] = 1;
  on_all_cpus(configuration.cpu_count, free_outside);
  ks_vmalloc_figures figures = ks_vmalloc_figures_now();
  must(figures.areas == 2 && figures.mapped_pages == 257 && figures.retired_areas == 0, "something was freed");
  must(areas[0][0] == 1 && areas[1][0] == 1, "an area has changed");
  must(ks_vfree(areas[0], &error) == KS_OK && ks_vfree(areas[1], &error) == KS_OK, error.text);
  ks_vmalloc_flush();
  must(ks_vmalloc_figures_now().retired_pages == 0 && ks_vmalloc_figures_now().table_frames == 0, "something is left");
  say("{\"type\":\"narrow\",\"mebibytes\":%u,\"cpus\":%u,\"refused\":%u,\"misuses\":%u}", (uint64_t)VMALLOC_MIB,
      (uint64_t)configuration.cpu_count, refused, misuses);
}

// Counts what a program allocates. Whoever links this has its malloc(3) and the others of its kind, which hand everything on to
// the C library.
#ifndef VOLFS_CALLOCATIONS_H
#define VOLFS_CALLOCATIONS_H

#include <stdint.h>

/// How often memory was allocated, or made larger or smaller, since the program began, by all threads.
uint64_t volfs_allocations(void);

#endif

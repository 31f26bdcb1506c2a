/* Scratch shared by planes: borrowed tiles, and the workspace of the attention. */
#ifndef TADA_PLANE_POOL_H
#define TADA_PLANE_POOL_H

#include "tada.h"

/* A block of at least `bytes`, 64-byte aligned, or NULL. Any thread may borrow, and give back. */
void *tada_pool_borrow(tada_pool *pool, size_t bytes);
void tada_pool_return(tada_pool *pool, void *block);

/* The bytes that a workspace of `bytes` bytes takes. */
size_t tada_pool_rounded(size_t bytes);

/* The workspace, of at least `bytes` bytes; its content is lost when it grows. NULL: memory is short. The
 * pool keeps it for this user until tada_pool_workspace_done. One user at a time. */
void *tada_pool_workspace(tada_pool *pool, size_t bytes);
void tada_pool_workspace_done(tada_pool *pool);

#endif

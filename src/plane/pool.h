/* Scratch shared by planes: borrowed tiles, and the workspace of the attention. */
#ifndef TADA_PLANE_POOL_H
#define TADA_PLANE_POOL_H

#include "tada.h"

/* A block of at least `bytes`, 64-byte aligned, or NULL. Any thread may borrow, and give back. */
void *tada_pool_borrow(tada_pool *pool, size_t bytes);
void tada_pool_return(tada_pool *pool, void *block);

/* What a workspace of so many bytes takes. */
size_t tada_pool_rounded(size_t bytes);

/* The workspace, grown to at least `bytes` (its content is lost then), or NULL. It stays until it is done
 * with; one user at a time. */
void *tada_pool_workspace(tada_pool *pool, size_t bytes);
void tada_pool_workspace_done(tada_pool *pool);

#endif

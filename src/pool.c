#include "pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct pool_block {
    void *memory;
    size_t bytes;
    bool used;
} pool_block;

struct tada_pool {
    pool_block *blocks;
    int n_blocks, capacity;
    void *workspace;
    size_t workspace_bytes;
    atomic_size_t bytes; /* of all blocks and the workspace, for other threads */
};

tada_pool *tada_pool_create(void)
{
    return calloc(1, sizeof(tada_pool));
}

void tada_pool_free(tada_pool *pool)
{
    if (!pool) {
        return;
    }
    for (int i = 0; i < pool->n_blocks; i++) {
        free(pool->blocks[i].memory);
    }
    free(pool->blocks);
    free(pool->workspace);
    free(pool);
}

size_t tada_pool_bytes(const tada_pool *pool)
{
    return atomic_load_explicit(&pool->bytes, memory_order_relaxed);
}

void *tada_pool_borrow(tada_pool *pool, size_t bytes)
{
    bytes = (bytes + 63) / 64 * 64;
    for (int i = 0; i < pool->n_blocks; i++) {
        if (!pool->blocks[i].used && pool->blocks[i].bytes >= bytes) {
            pool->blocks[i].used = true;
            return pool->blocks[i].memory;
        }
    }
    if (pool->n_blocks == pool->capacity) {
        int capacity = pool->capacity ? 2 * pool->capacity : 16;
        pool_block *blocks = realloc(pool->blocks, (size_t)capacity * sizeof *blocks);
        if (!blocks) {
            return NULL;
        }
        pool->blocks = blocks;
        pool->capacity = capacity;
    }
    void *memory = aligned_alloc(64, bytes);
    if (memory) {
        pool->blocks[pool->n_blocks++] = (pool_block){memory, bytes, true};
        pool->bytes += bytes;
    }
    return memory;
}

void tada_pool_return(tada_pool *pool, void *block)
{
    for (int i = 0; i < pool->n_blocks; i++) {
        if (pool->blocks[i].memory == block) {
            pool->blocks[i].used = false;
        }
    }
}

size_t tada_pool_rounded(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

void *tada_pool_workspace(tada_pool *pool, size_t bytes)
{
    if (bytes > pool->workspace_bytes) {
        free(pool->workspace);
        pool->bytes -= pool->workspace_bytes;
        pool->workspace_bytes = tada_pool_rounded(bytes);
        pool->workspace = aligned_alloc(4096, pool->workspace_bytes);
        if (!pool->workspace) {
            pool->workspace_bytes = 0;
        }
        pool->bytes += pool->workspace_bytes;
    }
    return pool->workspace;
}

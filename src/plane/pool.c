#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct pool_block {
    void *memory;
    size_t bytes;
    bool used;
} pool_block;

struct tada_pool {
    pthread_mutex_t lock; /* of all that follows */
    pool_block *blocks;
    int n_blocks, capacity;
    void *workspace;
    size_t workspace_bytes;
    bool workspace_used;
    atomic_size_t bytes; /* of all blocks and the workspace, which anyone reads without the lock */
};

tada_pool *tada_pool_create(void)
{
    tada_pool *pool = calloc(1, sizeof *pool);
    if (pool && pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        pool = NULL;
    }
    return pool;
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
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void tada_pool_trim(tada_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (int i = pool->n_blocks - 1; i >= 0; i--) {
        if (!pool->blocks[i].used) {
            free(pool->blocks[i].memory);
            pool->bytes -= pool->blocks[i].bytes;
            pool->blocks[i] = pool->blocks[--pool->n_blocks];
        }
    }
    if (!pool->workspace_used) {
        free(pool->workspace);
        pool->bytes -= pool->workspace_bytes;
        pool->workspace = NULL;
        pool->workspace_bytes = 0;
    }
    pthread_mutex_unlock(&pool->lock);
}

size_t tada_pool_bytes(const tada_pool *pool)
{
    return atomic_load_explicit(&pool->bytes, memory_order_relaxed);
}

/* With the lock held. */
static void *borrow(tada_pool *pool, size_t bytes)
{
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

void *tada_pool_borrow(tada_pool *pool, size_t bytes)
{
    pthread_mutex_lock(&pool->lock);
    void *memory = borrow(pool, (bytes + 63) / 64 * 64);
    pthread_mutex_unlock(&pool->lock);
    return memory;
}

void tada_pool_return(tada_pool *pool, void *block)
{
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < pool->n_blocks; i++) {
        if (pool->blocks[i].memory == block) {
            pool->blocks[i].used = false;
        }
    }
    pthread_mutex_unlock(&pool->lock);
}

size_t tada_pool_rounded(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

void *tada_pool_workspace(tada_pool *pool, size_t bytes)
{
    pthread_mutex_lock(&pool->lock);
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
    pool->workspace_used = pool->workspace != NULL;
    void *workspace = pool->workspace;
    pthread_mutex_unlock(&pool->lock);
    return workspace;
}

void tada_pool_workspace_done(tada_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->workspace_used = false;
    pthread_mutex_unlock(&pool->lock);
}

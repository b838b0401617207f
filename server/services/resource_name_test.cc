#include "server/services/resource_name.h"

#include <string>

#include "gtest/gtest.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

TEST(ResourceNameTest, ShortFormsMeanTheDefaultTenant) {
  EXPECT_EQ(*ParseTenant(""), "default");
  EXPECT_EQ(*ParseTenant("tenants/a-1"), "a-1");
  const absl::StatusOr<TenantResource> bare =
      ParseTenantResource("stores", "s-1");
  ASSERT_TRUE(bare.ok());
  EXPECT_EQ(bare->tenant, "default");
  EXPECT_EQ(bare->id, "s-1");
}

TEST(ResourceNameTest, FullFormsGoThereAndBack) {
  const absl::StatusOr<TenantResource> full = ParseTenantResource(
      "modules", TenantResourceName("acme", "modules", "sha256:00"));
  ASSERT_TRUE(full.ok());
  EXPECT_EQ(full->tenant, "acme");
  EXPECT_EQ(full->id, "sha256:00");
}

TEST(ResourceNameTest, RefusesOtherTenantNames) {
  for (const std::string parent :
       {"acme", "tenants/", "tenants/A", "tenants/a_b", "tenants/-a",
        "tenants/a/b", "projects/a", "tenants/../a", "/tenants/a"}) {
    EXPECT_EQ(ReasonOf(ParseTenant(parent).status()), reason::kBadArgument)
        << parent;
  }
  EXPECT_TRUE(ParseTenant("tenants/" + std::string(63, 'a')).ok());
  EXPECT_FALSE(ParseTenant("tenants/" + std::string(64, 'a')).ok());
}

TEST(ResourceNameTest, RefusesOtherResources) {
  for (const std::string name :
       {"", "/", "a/b", "tenants/a/stores", "tenants/a/stores/",
        "tenants/a/modules/x", "tenants/a/stores/x/y", "tenants/A/stores/x"}) {
    EXPECT_FALSE(ParseTenantResource("stores", name).ok()) << name;
  }
  EXPECT_TRUE(ParseTenantResource("stores", std::string(128, 'x')).ok());
  EXPECT_FALSE(ParseTenantResource("stores", std::string(129, 'x')).ok());
}

TEST(ResourceNameTest, PageSizesAreBounded) {
  EXPECT_EQ(*ParsePageSize(0), 100u);
  EXPECT_EQ(*ParsePageSize(1), 1u);
  EXPECT_EQ(*ParsePageSize(1000), 1000u);
  EXPECT_EQ(*ParsePageSize(1001), 1000u);
  EXPECT_FALSE(ParsePageSize(-1).ok());
}

}  // namespace
}  // namespace callgate
